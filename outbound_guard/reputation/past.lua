-- Take in one hour of a sender's past, as an older mail server's log tells it. Each hour of a source counts once.
-- KEYS  1 traffic whose highest hours are learned   2 profile that gets the outcomes   3 profile that keeps the habits
--       4 what the keeper of the habits knows (set of 32-bit hashes)   5 hours taken in (hash: by source)
-- ARGV  1 packed ('<ddffffHB'): now, begin of the hour (unix seconds), messages, recipients, those that failed, messages
--         with a known network, number of networks among the hashes, 1 to learn habits and outcomes too
--       2 source   3 outcomes, packed ('<BH' each): number (0-based), recipients
--       4.. hashes of networks, then of recipients that took mail
-- Returns 1, or 0 if this hour, or a later one, was taken in before.

local now, at, messages, recipients, failed, placed, networks, whole = struct.unpack('<ddffffHB', ARGV[1])
local source, hour, day = ARGV[2], math.floor(at / 3600), math.floor(at / 86400)
local marks = redis.call('HMGET', KEYS[5], source, source .. ' day', source .. ' sum')
if hour <= tonumber(marks[1] or -1) then return 0 end

local v, is_new = read(TRAFFIC, KEYS[1])

-- The same rules as for live traffic (recall.lua): a peak fades with time, and one hour at most doubles it.
local function peak(field, number, factor, passed)
    local fade = factor ^ math.max(0, passed)
    local number_then = math.min(number, v[field] / math.max(fade, 1e-9) * 2 + 10)
    v[field] = math.max(v[field], number_then * fade)
end

peak(T.hour_peak, recipients, 0.998, math.floor(now / 3600) - hour)
local before, sum = tonumber(marks[2] or day), tonumber(marks[3] or 0)
if before ~= day then
    peak(T.day_peak, sum, 0.97, math.floor(now / 86400) - before)
    sum = 0
end
write(TRAFFIC, KEYS[1], v, is_new)
redis.call('HSET', KEYS[5], source, hour, source .. ' day', day, source .. ' sum', sum + recipients)
redis.call('EXPIRE', KEYS[5], KEEP)
if whole == 0 then return 1 end

local function add(first, last)
    local added = 0
    for from = first, last, 1000 do
        added = added + redis.call('SADD', KEYS[4], unpack(ARGV, from, math.min(from + 999, last)))
    end
    return added
end
local habits, habits_new = read(PROFILE, KEYS[3])
local network_new, new = add(4, 3 + networks), failed + add(4 + networks, #ARGV)
redis.call('EXPIRE', KEYS[4], KEEP)
habits[P.messages] = habits[P.messages] + messages
habits[P.recipients] = habits[P.recipients] + recipients
habits[P.new] = habits[P.new] + math.min(new, recipients)
while habits[P.recipients] > MOST_RECIPIENTS do halve(habits, P.recipients) end
habits[P.network_seen] = habits[P.network_seen] + placed
habits[P.network_new] = habits[P.network_new] + math.min(network_new, placed)
while habits[P.network_seen] > MOST_SEEN do halve(habits, P.network_seen) end

local sender, sender_new = habits, habits_new
if KEYS[2] ~= KEYS[3] then sender, sender_new = read(PROFILE, KEYS[2]) end
if ARGV[3] ~= '' then
    -- Half-life of a week, as in learn.lua; what is older than the last answer has faded already.
    local dt, weight = at - sender[P.outcomes_at], 1
    if dt >= 0 then
        if sender[P.outcomes_at] > 0 then
            for i = P.delivered, P.reached do sender[i] = sender[i] * 0.5 ^ (dt / 604800) end
        end
        sender[P.outcomes_at] = at
    else
        weight = 0.5 ^ (-dt / 604800)
    end
    local place = 1
    while place <= #ARGV[3] do
        local outcome, number
        outcome, number, place = struct.unpack('<BH', ARGV[3], place)
        sender[P.delivered + outcome] = sender[P.delivered + outcome] + number * weight
    end
end
write(PROFILE, KEYS[3], habits, habits_new)
if KEYS[2] ~= KEYS[3] then write(PROFILE, KEYS[2], sender, sender_new) end
return 1
