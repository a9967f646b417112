-- Read what is known of a sender and count one message, in one step.
-- KEYS  1 sender's traffic   2 account's traffic   3 sender's profile   4 account's profile
--       5 what the keeper of the habits knows (set of 32-bit hashes)   6 networks of the last two hours that it does not know (by time)
--       7 traits that are not known yet (by the time they were first seen)
-- ARGV  1 packed ('<dBHB'): now (unix seconds), 1 to count, 0 to look only, number of recipients, of their domains
--       2.. one hash for each trait ('' if it has none), then the recipients' hashes, then those of their domains
-- Returns { sender's traffic, account's traffic, sender's profile, account's profile, number of new recipients,
--           traits as letters ('0' known, '1' never seen, '2' seen, but not for long enough), number of networks of late,
--           number of new domains }

local now, counting, recipients, domains = struct.unpack('<dBHB', ARGV[1])
local CALM = 3  -- nats; an hour with more suspicion than this does not become a habit

local asked, last = {}, #ARGV
for i = 2, last do if ARGV[i] ~= '' then asked[#asked + 1] = ARGV[i] end end
local traits, fresh, fresh_domains, networks = '', 0, 0, 0
if #asked > 0 then
    local known, j = redis.call('SMISMEMBER', KEYS[5], unpack(asked)), 0
    for i = 2, last do
        local is_new = false
        if ARGV[i] ~= '' then
            j = j + 1
            is_new = known[j] == 0
        end
        if i < 2 + TRAITS then
            local letter = '0'
            if is_new then letter = redis.call('ZSCORE', KEYS[7], ARGV[i]) and '2' or '1' end
            traits = traits .. letter
        elseif is_new and i > last - domains then
            fresh_domains = fresh_domains + 1
        elseif is_new then
            fresh = fresh + 1
        end
    end
end
if traits ~= '' and traits:byte(1) ~= 48 then  -- 48: the digit zero
    redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', now - 7200)
    if counting == 1 then
        redis.call('ZADD', KEYS[6], now, ARGV[2])
        redis.call('EXPIRE', KEYS[6], 7200)
    end
    networks = redis.call('ZCARD', KEYS[6])
end

local packed = redis.call('MGET', KEYS[1], KEYS[2], KEYS[3], KEYS[4])

-- A window that is over sets the habit, if it went by calmly; at most doubling it, so that one burst is no habit.
local function roll(v, n, at, length, peak, fade)
    local index = math.floor(now / length)
    if v[at] == index then return end
    local passed = index - v[at]
    if peak and v[at] > 0 and suspicion(decode(PROFILE, packed[n + 2])) < CALM then
        v[peak] = math.max(v[peak] * fade ^ math.min(passed, 10000), math.min(v[at + 2], v[peak] * 2 + 10))
    end
    local before = T.minute_before_messages + (at - T.minute) / 4 * 3
    for k = 0, 2 do
        v[before + k] = passed == 1 and v[at + 1 + k] or 0
        v[at + 1 + k] = 0
    end
    v[at] = index
end

if counting == 1 then
    for n = 1, 2 do
        local v = decode(TRAFFIC, packed[n])
        roll(v, n, T.minute, 60)
        roll(v, n, T.hour, 3600, T.hour_peak, 0.998)
        if math.floor(now / 86400) ~= v[T.day] then
            roll(v, n, T.day, 86400, T.day_peak, 0.97)
            redis.call('EXPIRE', KEYS[n], KEEP)
            redis.call('EXPIRE', KEYS[n + 2], KEEP)
            redis.call('EXPIRE', KEYS[5], KEEP)
        end
        for at = T.minute, T.day, 4 do
            v[at + 1] = v[at + 1] + 1
            v[at + 2] = v[at + 2] + recipients
            v[at + 3] = v[at + 3] + fresh
        end
        packed[n] = write(TRAFFIC, KEYS[n], v, not packed[n])
    end
end
return { packed[1], packed[2], packed[3], packed[4], fresh, traits, networks, fresh_domains }
