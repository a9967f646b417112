-- Read what is known of a sender and count one message, in one step.
-- KEYS  1 sender's record   2 account's record   3 what the keeper of the habits knows, if that lies apart
-- ARGV  1 packed ('<dBBHB'): now (unix seconds), 1 to count, 0 to look only, which record keeps the habits (1 sender,
--         2 account), number of recipients, of their domains
--       2 hashes, 4 octets each: of each trait (NONE if it has none), then of recipients, then of their domains
-- Returns { sender's traffic, account's traffic, sender's profile, account's profile, number of new recipients,
--           traits as letters ('0' known, '1' never seen, '2' seen, but not for long enough), number of networks of late,
--           number of new domains, hashes of new recipients and domains }

local now, counting, keeper, recipients, domains = unpack_at('<dBBHB', ARGV[1])
local hashes = ARGV[2]
local CALM = 3  -- nats; an hour with more suspicion than this does not become a habit
local MOST_NETWORKS = 255

local found = call('MGET', KEYS[1], KEYS[2])
local records = { open(found[1]), open(found[2]) }
local tail = tail_of(records[keeper])
local young, known, apart = tail.young, tail.known, nil
if tail.apart == 1 then apart = call('SMISMEMBER', KEYS[3], unpack(numbers(hashes, 1, #hashes))) end

local traits, fresh, fresh_domains, unknown = '', 0, 0, {}
local count = #hashes / 4
for i = 1, count do
    local hash = sub(hashes, i * 4 - 3, i * 4)
    local is_new
    if apart then
        is_new = apart[i] == 0 and hash ~= NONE
    else
        is_new = hash ~= NONE and not place(known, hash, 4)
    end
    if i <= TRAITS then
        traits = traits .. (is_new and (place(young, hash, 8) and '2' or '1') or '0')
    elseif is_new then
        unknown[#unknown + 1] = hash
        if i > count - domains then fresh_domains = fresh_domains + 1 else fresh = fresh + 1 end
    end
end

local networks, all_anew = 0, false
if traits:byte(1) ~= 48 then  -- 48: the digit zero
    local mine, kept = sub(hashes, 1, 4), ''
    for at = 1, #tail.networks, 8 do
        local one = sub(tail.networks, at, at + 7)
        if unpack_at('<I4', one, 5) > now - 7200 and not (counting == 1 and sub(one, 1, 4) == mine) then
            kept = kept .. one
        end
    end
    if counting == 1 then
        kept = sub(kept .. mine .. pack('<I4', now), -8 * MOST_NETWORKS)
        all_anew = true
    end
    tail.networks, networks = kept, #kept / 8
end

-- A window that is over sets the habit, if it went by calmly; at most doubling it, so that one burst is no habit.
local function roll(v, n, at, length, peak, fade)
    local index = math.floor(now / length)
    if v[at] == index then return end
    local passed = index - v[at]
    if peak and v[at] > 0 then
        local profile, sum = profile_of(records[n]), 0
        for i = P.sum0, P.sum0 + SLOTS - 1 do sum = sum + profile[i] end
        if sum < CALM then
            v[peak] = math.max(v[peak] * fade ^ math.min(passed, 10000), math.min(v[at + 2], v[peak] * 2 + 10))
        end
    end
    local before = T.minute_before_messages + (at - T.minute) / 4 * 3
    for k = 0, 2 do
        v[before + k] = passed == 1 and v[at + 1 + k] or 0
        v[at + 1 + k] = 0
    end
    v[at] = index
end

local answer = {}
for n = 1, 2 do
    local record = records[n]
    answer[n] = record ~= '' and sub(record, 2, HEAD)
    answer[n + 2] = #record > HEAD and sub(record, HEAD + 1, BODY)
    if counting == 1 then
        local v = traffic_of(record)
        roll(v, n, T.minute, 60)
        roll(v, n, T.hour, 3600, T.hour_peak, 0.998)
        if math.floor(now / 86400) ~= v[T.day] then
            roll(v, n, T.day, 86400, T.day_peak, 0.97)
            if record ~= '' then call('EXPIRE', KEYS[n], KEEP) end
            if apart and n == keeper then call('EXPIRE', KEYS[3], KEEP) end
        end
        for at = T.minute, T.day, 4 do
            v[at + 1] = v[at + 1] + 1
            v[at + 2] = v[at + 2] + recipients
            v[at + 3] = v[at + 3] + fresh
        end
        local traffic = encode(TRAFFIC, v)
        answer[n] = traffic
        if all_anew and n == keeper then
            write(KEYS[n], record, traffic, answer[n + 2] or string.rep('\0', PROFILE[2]), tail)
        elseif record ~= '' then
            call('SETRANGE', KEYS[n], 1, traffic)
        else
            call('SET', KEYS[n], MARK .. traffic, 'EX', KEEP)
        end
    end
end
return { answer[1], answer[2], answer[3], answer[4], fresh, traits, networks, fresh_domains, table.concat(unknown) }
