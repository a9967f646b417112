-- Write down what a judgement found and what the world answered. Written behind, not awaited.
-- KEYS  1 sender's traffic   2 account's traffic   3 sender's profile   4 account's profile
--       5 what the keeper of the habits knows (set of 32-bit hashes)   6 traits that are not known yet (by the time they were first seen)
-- ARGV  1 packed ('<dBdBBBfHHBBBBBB'; numbers in one string cost a tenth of numbers as text): now, which profile keeps the
--         habits (1 sender, 2 account), half-life of evidence (seconds), 1 if the message may become a habit, 1 if it went
--         out, 1 if it repeats a text, weight of its content (nats), recipients, new recipients, their domains, new domains, suspend as of now (0 no, 1 sender, 2 account), 1 to take the message out of the windows again,
--         number of pieces of evidence, number of outcomes
--       2 packed: for each piece of evidence ('<Bfff') slot, weight (nats), lowest and highest sum;
--         for each outcome ('<BH') its number (0-based) and its recipients
--       3 traits present as '0'/'1' letters   4 new traits likewise
--       5.. hashes of traits and recipients ('' for none), which become known with the habit

local MOST_YOUNG = 500  -- traits that wait to become known (YOUNG: memory.py)

local now, keeper, half_life, habit, went_out, copy, content, recipients, new, domains, new_domains, suspend, uncount, evidence, outcomes =
    struct.unpack('<dBdBBBfHHBBBBBB', ARGV[1])
local at = 1
local sender, sender_is_new = read(PROFILE, KEYS[3])

if evidence > 0 then
    age_sums(sender, now, half_life)
    for _ = 1, evidence do
        local slot, weight, low, high
        slot, weight, low, high, at = struct.unpack('<Bfff', ARGV[2], at)
        add_evidence(sender, slot, weight, low, high)
    end
end

if outcomes > 0 then
    local dt = now - sender[P.outcomes_at]
    if sender[P.outcomes_at] > 0 and dt > 0 then
        local factor = 0.5 ^ (dt / 604800)  -- half-life of a week
        for i = P.delivered, P.reached do sender[i] = sender[i] * factor end
    end
    sender[P.outcomes_at] = math.max(now, sender[P.outcomes_at])
    for _ = 1, outcomes do
        local outcome, number
        outcome, number, at = struct.unpack('<BH', ARGV[2], at)
        sender[P.delivered + outcome] = sender[P.delivered + outcome] + number
    end
end

if suspend == 1 then sender[P.suspended] = now end
local account, account_is_new = nil, false
if suspend == 2 or (keeper == 2 and (habit == 1 or went_out == 1)) then
    account, account_is_new = read(PROFILE, KEYS[4])
    if suspend == 2 then account[P.suspended] = now end
end

if went_out == 1 then
    local v = keeper == 1 and sender or account
    v[P.content_seen] = math.min(v[P.content_seen] + 1, 50)
    v[P.content] = v[P.content] + (content - v[P.content]) / v[P.content_seen]
end
if habit == 1 then
    local v = keeper == 1 and sender or account
    local known = {}
    for i = 5 + TRAITS, #ARGV do known[#known + 1] = ARGV[i] end
    for t = 1, TRAITS do
        if ARGV[3]:byte(t) == 49 then  -- 49: the digit one
            local hash, i = ARGV[4 + t], P.network_seen + (t - 1) * 2
            local counts = true
            if ARGV[4]:byte(t) == 49 then
                if redis.call('ZADD', KEYS[6], 'NX', now, hash) == 1 then
                    v[i + 1] = v[i + 1] + 1
                    redis.call('ZREMRANGEBYRANK', KEYS[6], 0, -1 - MOST_YOUNG)
                    redis.call('EXPIRE', KEYS[6], KEEP)
                elseif now - tonumber(redis.call('ZSCORE', KEYS[6], hash)) >= YOUNG then
                    redis.call('ZREM', KEYS[6], hash)
                    known[#known + 1] = hash
                else
                    counts = false
                end
            end
            if counts then v[i] = v[i] + 1 end
            if v[i] > MOST_SEEN then halve(v, i) end
        end
    end
    if #known > 0 then
        redis.call('SADD', KEYS[5], unpack(known))
        if v[P.messages] == 0 then redis.call('EXPIRE', KEYS[5], KEEP) end
    end
    v[P.messages] = v[P.messages] + 1
    v[P.copied] = v[P.copied] + (copy - v[P.copied]) / math.min(v[P.messages], 200)
    v[P.recipients] = v[P.recipients] + recipients
    v[P.new] = v[P.new] + new
    if v[P.recipients] > MOST_RECIPIENTS then halve(v, P.recipients) end
    v[P.domains] = v[P.domains] + domains
    v[P.domains_new] = v[P.domains_new] + new_domains
    if v[P.domains] > MOST_SEEN then halve(v, P.domains) end
end

if uncount == 1 then
    for n = 1, 2 do
        local v, is_new = read(TRAFFIC, KEYS[n])
        for i = T.minute, T.day, 4 do
            v[i + 1] = math.max(0, v[i + 1] - 1)
            v[i + 2] = math.max(0, v[i + 2] - recipients)
            v[i + 3] = math.max(0, v[i + 3] - new)
        end
        write(TRAFFIC, KEYS[n], v, is_new)
    end
end
write(PROFILE, KEYS[3], sender, sender_is_new)
if account then write(PROFILE, KEYS[4], account, account_is_new) end
