-- Forget the suspicion against a sender or account and lift its suspension; what its habits are stays known.
-- KEYS  1 its record
-- ARGV  1 now   2 change of trust: 1 after a mistake of ours, 0 otherwise

local v = read(KEYS[1])
for i = F.sum0, F.sum0 + SLOTS - 1 do v[i] = 0 end
v[F.sums_at] = tonumber(ARGV[1])
v[F.suspended] = 0
v[F.trust] = math.min(3, v[F.trust] + tonumber(ARGV[2]))
write(KEYS[1], v)
