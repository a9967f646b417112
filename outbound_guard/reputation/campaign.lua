-- Count one more message with this text, and read who else has sent it.
-- KEYS  1 hash of the campaign   2 its senders   3 its senders under suspicion (sets of 32-bit hashes)
-- ARGV  1 sender's hash   2 1 to count, 0 to look only   3 seconds to keep it
-- Returns { senders, other senders under suspicion, messages, good, bad }

if ARGV[2] == '1' then
    redis.call('HINCRBY', KEYS[1], 'messages', 1)
    if redis.call('SCARD', KEYS[2]) < 4096 then redis.call('SADD', KEYS[2], ARGV[1]) end
    for i = 1, 2 do redis.call('EXPIRE', KEYS[i], ARGV[3]) end
end
local hot = redis.call('SCARD', KEYS[3])
if hot > 0 and redis.call('SISMEMBER', KEYS[3], ARGV[1]) == 1 then hot = hot - 1 end
local told = redis.call('HMGET', KEYS[1], 'messages', 'good', 'bad')
return { redis.call('SCARD', KEYS[2]), hot, tonumber(told[1] or 0), tonumber(told[2] or 0), tonumber(told[3] or 0) }
