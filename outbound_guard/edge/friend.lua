-- A right password: this login belongs to this address.
--   KEYS[1]  login and address
--   ARGV[1]  seconds for which that is known
redis.call('SET', KEYS[1], '1', 'EX', ARGV[1])
return 1
