-- Note against what several may share (company.lua) that a sender of it is under suspicion, or what a person said of it.
-- KEYS  1 its senders, and what people said (hash)   2 its senders under suspicion (set)
-- ARGV  1 sender's hash or ''   2 '' or 'good' or 'bad'   3 seconds to keep it

if ARGV[1] ~= '' then
    redis.call('SADD', KEYS[2], ARGV[1])
    redis.call('EXPIRE', KEYS[2], ARGV[3])
end
if ARGV[2] ~= '' then
    redis.call('HINCRBY', KEYS[1], ARGV[2], 1)
    redis.call('EXPIRE', KEYS[1], ARGV[3])
end
