-- Tell all processes of all hosts what was decided about a sender or an account.
-- KEYS  1 the news (stream, ten minutes long)
-- ARGV  1 the record (JSON)
local KEPT = 600
redis.call('XADD', KEYS[1], 'MINID', '~', (redis.call('TIME')[1] - KEPT) * 1000, '*', 'record', ARGV[1])
redis.call('EXPIRE', KEYS[1], KEPT)
