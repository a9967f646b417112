-- Count one more sender of what several may share (a text, a client's address), and read who else has sent it and what
-- people said of it.
-- KEYS  1 what is known of it, packed: '<HHHHH' hour of the last change, times that people said good, and bad, senders,
--         senders under suspicion; then of each sender '<c4I4' its hash, and twice how often it sent it, plus 1 if it is
--         under suspicion
-- ARGV  1 packed ('<c4BHI4I4'): sender's hash, 1 to count, 0 to look only, hour, seconds to keep it, seconds to keep what
--         was sent only once
-- Returns { senders, other senders under suspicion, good, bad, times that this sender sent it }

local MOST = 4096  -- senders that are told apart
local hash, counting, hour, keep, keep_once = struct.unpack('<c4BHI4I4', ARGV[1])

local told = redis.call('GET', KEYS[1])
if not told then
    if counting == 0 then return { 0, 0, 0, 0, 0 } end
    redis.call('SET', KEYS[1], struct.pack('<HHHHHc4I4', hour, 0, 0, 1, 0, hash, 2), 'EX', keep_once)
    return { 1, 0, 0, 0, 1 }
end
local before, good, bad, senders, hot = struct.unpack('<HHHHH', told)
local at = told:find(hash, 11, true)
while at and (at - 11) % 8 ~= 0 do at = told:find(hash, at + 1, true) end
local mine = at and struct.unpack('<I4', told, at + 4) or 0
if counting == 1 and (at or #told < 10 + 8 * MOST) then
    if mine < 2 then senders = senders + 1 end
    mine = mine + 2
    redis.call('SETRANGE', KEYS[1], at and at - 1 or #told, struct.pack('<c4I4', hash, mine))
    -- What is sent often need not be told every time that it is to be kept.
    if mine < 6 or before ~= hour then
        redis.call('SETRANGE', KEYS[1], 0, struct.pack('<HHHHH', hour, good, bad, senders, hot))
        redis.call('EXPIRE', KEYS[1], keep)
    end
end
return { senders, hot - mine % 2, good, bad, math.floor(mine / 2) }
