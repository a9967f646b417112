-- Forget the suspicion against a sender or account and lift its suspension; what its habits are stays known.
-- KEYS  1 its record
-- ARGV  1 now   2 change of trust: 1 after a mistake of ours, 0 otherwise

local record = open(call('GET', KEYS[1]))
local v = profile_of(record)
for i = P.sum0, P.sum0 + SLOTS - 1 do v[i] = 0 end
v[P.sums_at] = tonumber(ARGV[1])
v[P.suspended] = 0
v[P.trust] = min(3, v[P.trust] + tonumber(ARGV[2]))
write_profile(KEYS[1], record, v)
