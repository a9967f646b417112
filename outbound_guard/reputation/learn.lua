-- Write down what a judgement found and what the world answered. Written behind, not awaited.
-- KEYS  1 sender's record   2 account's record   3 what the keeper of the habits knows, if that lies apart
-- ARGV  1 packed ('<dBdBBBfHHBBBBBBHH'; numbers in one string cost a tenth of numbers as text): now, which record keeps the
--         habits (1 sender, 2 account), half-life of evidence (seconds), 1 if the message may become a habit, 1 if it went
--         out, 1 if it repeats a text, weight of its content (nats), recipients, new recipients, their domains, new domains, suspend as of
--         now (0 no, 1 sender, 2 account), 1 to take the message out of the windows again, number of pieces of evidence,
--         number of outcomes, traits that it has (bits), those of them that are new
--       2 packed: for each piece of evidence ('<Bfff') slot, weight (nats), lowest and highest sum;
--         for each outcome ('<BH') its number (0-based) and its recipients
--       3 hashes, 4 octets each, of traits, then of recipients and domains that are new, which become known with the habit

local MOST_YOUNG = 500  -- traits that wait to become known (YOUNG: memory.py)

local now, keeper, half_life, habit, went_out, copy, content, recipients, new, domains, new_domains, suspend, uncount, evidence, outcomes, shown, new_traits =
    unpack_at('<dBdBBBfHHBBBBBBHH', ARGV[1])
local both = suspend == 2 or uncount == 1 or (keeper == 2 and (habit == 1 or went_out == 1))
local records = { '', '' }
if not both and new_traits == 0 and ARGV[3] == '' then
    -- What it knows stays as it is, and is not read.
    records[1] = call('GETRANGE', KEYS[1], '0', BODY + 3)
    records[1] = open(records[1])
else
    records[1] = open(call('GET', KEYS[1]))
    if both then records[2] = open(call('GET', KEYS[2])) end
end
local at = 1

if uncount == 1 then
    for n = 1, 2 do
        local record = records[n]
        if record ~= '' then
            local v = traffic_of(record)
            for i = T.minute, T.day, 4 do
                v[i + 1] = max(0, v[i + 1] - 1)
                v[i + 2] = max(0, v[i + 2] - recipients)
                v[i + 3] = max(0, v[i + 3] - new)
            end
            local traffic = pack(T.FORMAT, unpack(v, 1, T.COUNT))
            call('SETRANGE', KEYS[n], '1', traffic)
            records[n] = MARK .. traffic .. sub(record, HEAD + 1)
        end
    end
end

local sender = profile_of(records[1])
if evidence > 0 then
    -- Move the running sums to now, then add each piece of evidence within its bounds.
    local dt = now - sender[P.sums_at]
    if sender[P.sums_at] > 0 and dt > 0 then
        local factor = 0.5 ^ (dt / half_life)
        for i = P.sum0, P.sum0 + SLOTS - 1 do sender[i] = sender[i] * factor end
    end
    sender[P.sums_at] = max(now, sender[P.sums_at])
    for _ = 1, evidence do
        local slot, weight, low, high
        slot, weight, low, high, at = unpack_at('<Bfff', ARGV[2], at)
        local i = P.sum0 + slot
        -- A sum beyond a bound that was wider before stays where it is rather than jumping.
        if weight > 0 then
            sender[i] = max(sender[i], min(sender[i] + weight, high))
        else
            sender[i] = min(sender[i], max(sender[i] + weight, low))
        end
    end
end

if outcomes > 0 then
    local dt = now - sender[P.outcomes_at]
    if sender[P.outcomes_at] > 0 and dt > 0 then
        local factor = 0.5 ^ (dt / 604800)  -- half-life of a week
        for i = P.delivered, P.reached do sender[i] = sender[i] * factor end
    end
    sender[P.outcomes_at] = max(now, sender[P.outcomes_at])
    for _ = 1, outcomes do
        local outcome, number
        outcome, number, at = unpack_at('<BH', ARGV[2], at)
        sender[P.delivered + outcome] = sender[P.delivered + outcome] + number
    end
end

if suspend == 1 then sender[P.suspended] = now end
local account = nil
if suspend == 2 or (keeper == 2 and (habit == 1 or went_out == 1)) then
    account = profile_of(records[2])
    if suspend == 2 then account[P.suspended] = now end
end
local v = keeper == 1 and sender or account

if went_out == 1 then
    v[P.content_seen] = min(v[P.content_seen] + 1, 50)
    v[P.content] = v[P.content] + (content - v[P.content]) / v[P.content_seen]
end

local tail, changed = nil, nil
if habit == 1 then
    local known = ''
    if ARGV[3] ~= '' then
        tail = tail_of(records[keeper])
        known = sub(ARGV[3], TRAITS * 4 + 1)
    end
    local i = P.network_seen
    for t = 1, TRAITS do
        if shown % 2 == 1 then
            local counts = true
            if new_traits % 2 == 1 then
                local hash, young = sub(ARGV[3], t * 4 - 3, t * 4), tail.young
                local waits = place(young, hash, 1, 8)
                if not waits then
                    v[i + 1] = v[i + 1] + 1
                    tail.young = sub(young .. hash .. pack('<I4', now), -8 * MOST_YOUNG)
                    changed = tail
                elseif now - unpack_at('<I4', young, waits + 4) >= YOUNG then
                    tail.young = sub(young, 1, waits - 1) .. sub(young, waits + 8)
                    known = known .. hash
                    changed = tail
                else
                    counts = false
                end
            end
            if counts then v[i] = v[i] + 1 end
            if v[i] > MOST_SEEN then halve(v, i) end
        end
        shown, new_traits, i = floor(shown / 2), floor(new_traits / 2), i + 2
    end
    if known ~= '' then
        local inside = tail.apart == 0
        if make_known(tail, KEYS[3], known) > 0 and inside then changed = tail end
    end
    v[P.messages] = v[P.messages] + 1
    v[P.copied] = v[P.copied] + (copy - v[P.copied]) / min(v[P.messages], 200)
    v[P.recipients] = v[P.recipients] + recipients
    v[P.new] = v[P.new] + new
    if v[P.recipients] > MOST_RECIPIENTS then halve(v, P.recipients) end
    v[P.domains] = v[P.domains] + domains
    v[P.domains_new] = v[P.domains_new] + new_domains
    if v[P.domains] > MOST_SEEN then halve(v, P.domains) end
end

write_profile(KEYS[1], records[1], sender, keeper == 1 and changed or nil)
if account then write_profile(KEYS[2], records[2], account, keeper == 2 and changed or nil) end
