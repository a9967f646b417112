-- Count what the world answered, and add what it says about the sender. Written behind, not awaited.
-- KEYS  1 sender's record
-- ARGV  1 now   2 half-life of evidence (seconds)   3 index of the outcome (0-based)   4 recipients
--       5 slot   6 weight (nats)   7 lowest sum   8 highest sum

local now = tonumber(ARGV[1])
local v = read(KEYS[1])
local dt = now - v[F.outcomes_at]
if v[F.outcomes_at] > 0 and dt > 0 then
    local factor = 0.5 ^ (dt / 604800)  -- half-life of a week
    for i = F.delivered, F.delivered + 5 do v[i] = v[i] * factor end
end
v[F.outcomes_at] = math.max(now, v[F.outcomes_at])
local at = F.delivered + tonumber(ARGV[3])
v[at] = v[at] + tonumber(ARGV[4])
age_sums(v, now, tonumber(ARGV[2]))
add_evidence(v, tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]))
write(KEYS[1], v)
