-- Take in one hour of a sender's past, as an older mail server's log tells it. Each hour of a source counts once.
-- KEYS  1 record whose highest hours are learned, and which gets the outcomes   2 record that keeps the habits
--       3 what the keeper of the habits knows, if that lies apart   4 hours taken in (hash: by source)
-- ARGV  1 packed ('<ddffffHB'): now, begin of the hour (unix seconds), messages, recipients, those that failed, messages
--         with a known network, number of networks among the hashes, 1 to learn habits and outcomes too
--       2 source   3 outcomes, packed ('<BH' each): number (0-based), recipients
--       4 hashes, 4 octets each, of networks, then of recipients that took mail
-- Returns 1, or 0 if this hour, or a later one, was taken in before.

local now, at, messages, recipients, failed, placed, networks, whole = unpack_at('<ddffffHB', ARGV[1])
local source, hour, day = ARGV[2], floor(at / 3600), floor(at / 86400)
local marks = call('HMGET', KEYS[4], source, source .. ' day', source .. ' sum')
if hour <= tonumber(marks[1] or -1) then return 0 end

local record = open(call('GET', KEYS[1]))
local v = traffic_of(record)

-- The same rules as for live traffic (recall.lua): a peak fades with time, and one hour at most doubles it.
local function peak(field, number, factor, passed)
    local fade = factor ^ max(0, passed)
    local number_then = min(number, v[field] / max(fade, 1e-9) * 2 + 10)
    v[field] = max(v[field], number_then * fade)
end

peak(T.hour_peak, recipients, 0.998, floor(now / 3600) - hour)
local before, sum = tonumber(marks[2] or day), tonumber(marks[3] or 0)
if before ~= day then
    peak(T.day_peak, sum, 0.97, floor(now / 86400) - before)
    sum = 0
end
local traffic = pack(T.FORMAT, unpack(v, 1, T.COUNT))
if record ~= '' then
    call('SETRANGE', KEYS[1], '1', traffic)
else
    call('SET', KEYS[1], MARK .. traffic, 'EX', KEEP)
end
record = MARK .. traffic .. sub(record, HEAD + 1)
call('HSET', KEYS[4], source, hour, source .. ' day', day, source .. ' sum', sum + recipients)
call('EXPIRE', KEYS[4], KEEP)
if whole == 0 then return 1 end

local same = KEYS[1] == KEYS[2]
local habits_record = same and record or open(call('GET', KEYS[2]))
local habits, tail = profile_of(habits_record), tail_of(habits_record)
local split = networks * 4
local network_new = make_known(tail, KEYS[3], sub(ARGV[4], 1, split))
local new = failed + make_known(tail, KEYS[3], sub(ARGV[4], split + 1))
if tail.apart == 1 then call('EXPIRE', KEYS[3], KEEP) end
habits[P.messages] = habits[P.messages] + messages
habits[P.recipients] = habits[P.recipients] + recipients
habits[P.new] = habits[P.new] + min(new, recipients)
while habits[P.recipients] > MOST_RECIPIENTS do halve(habits, P.recipients) end
habits[P.network_seen] = habits[P.network_seen] + placed
habits[P.network_new] = habits[P.network_new] + min(network_new, placed)
while habits[P.network_seen] > MOST_SEEN do halve(habits, P.network_seen) end

local sender = same and habits or profile_of(record)
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
    local next_one = 1
    while next_one <= #ARGV[3] do
        local outcome, number
        outcome, number, next_one = unpack_at('<BH', ARGV[3], next_one)
        sender[P.delivered + outcome] = sender[P.delivered + outcome] + number * weight
    end
end
write_profile(KEYS[2], habits_record, habits, tail)
if not same then write_profile(KEYS[1], record, sender) end
return 1
