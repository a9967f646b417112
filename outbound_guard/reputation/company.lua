-- Count one more sender of what several may share (a text, a client's address), and read who else has sent it and what
-- people said of it.
-- KEYS  1 how often each sender sent it, by 32-bit hash, and what people said ('good', 'bad': times) (hash)
--       2 its senders under suspicion (set of 32-bit hashes)
-- ARGV  1 sender's hash   2 '1' to count, else to look only   3 seconds to keep it
-- Returns { senders, other senders under suspicion, good, bad, times that this sender sent it }

local MOST = 4096  -- senders that are told apart

local told = redis.call('HMGET', KEYS[1], 'good', 'bad', ARGV[1])
local senders = redis.call('HLEN', KEYS[1]) - (told[1] and 1 or 0) - (told[2] and 1 or 0)
local times = tonumber(told[3] or 0)
if ARGV[2] == '1' and (senders < MOST or told[3]) then
    times = redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
    if not told[3] then senders = senders + 1 end
    redis.call('EXPIRE', KEYS[1], ARGV[3])
end
local hot = redis.call('SCARD', KEYS[2])
if hot > 0 and redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then hot = hot - 1 end
return { senders, hot, tonumber(told[1] or 0), tonumber(told[2] or 0), times }
