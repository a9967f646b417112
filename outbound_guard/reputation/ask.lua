-- Count one more sender of what several may share (company.lua), and read who else has sent it and what people said.
-- KEYS  what is known of each
-- ARGV  1 packed: '<BH' 1 to count, 0 to look only, hour; then for each key '<c4I4I4' the sender's hash, seconds to keep
--         it, seconds to keep what was sent only once
-- Returns for each key '<HHHHI4', one after the other: senders, other senders under suspicion, good, bad, times that this
--         sender sent it

local counting, hour, at = unpack_at('<BH', ARGV[1])
local told = {}
for n = 1, #KEYS do
    local hash, keep, keep_once
    hash, keep, keep_once, at = unpack_at('<c4I4I4', ARGV[1], at)
    told[n] = meet(KEYS[n], hash, counting, hour, keep, keep_once)
end
return table.concat(told)
