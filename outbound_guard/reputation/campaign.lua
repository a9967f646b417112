-- Count one more sender of this text, and read who else has sent it and what people said of it.
-- KEYS  1 what people said (hash)   2 its senders   3 its senders under suspicion (sets of 32-bit hashes)
-- ARGV  1 sender's hash   2 1 to count, 0 to look only   3 seconds to keep it
-- Returns { senders, other senders under suspicion, good, bad }

local MOST = 4096  -- senders that are told apart

local senders = redis.call('SCARD', KEYS[2])
if ARGV[2] == '1' and senders < MOST then
    senders = senders + redis.call('SADD', KEYS[2], ARGV[1])
    redis.call('EXPIRE', KEYS[2], ARGV[3])
end
local hot = redis.call('SCARD', KEYS[3])
if hot > 0 and redis.call('SISMEMBER', KEYS[3], ARGV[1]) == 1 then hot = hot - 1 end
local told = redis.call('HMGET', KEYS[1], 'good', 'bad')
return { senders, hot, tonumber(told[1] or 0), tonumber(told[2] or 0) }
