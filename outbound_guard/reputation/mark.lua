-- Note against a campaign that a sender of it is under suspicion, or that a person has judged it.
-- KEYS  1 hash of the campaign   2 its senders under suspicion
-- ARGV  1 sender's hash or ''   2 '' or 'good' or 'bad'   3 seconds to keep it

if ARGV[1] ~= '' then
    redis.call('SADD', KEYS[2], ARGV[1])
    redis.call('EXPIRE', KEYS[2], ARGV[3])
end
if ARGV[2] ~= '' then
    redis.call('HINCRBY', KEYS[1], ARGV[2], 1)
    redis.call('EXPIRE', KEYS[1], ARGV[3])
end
