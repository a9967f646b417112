-- A wrong password: counts it for all processes.
--   KEYS[1]  the counter
--   ARGV[1]  milliseconds from its first until its end
-- Result: {its value, milliseconds until its end}
local count = redis.call('INCR', KEYS[1])
if count == 1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return {count, redis.call('PTTL', KEYS[1])}
