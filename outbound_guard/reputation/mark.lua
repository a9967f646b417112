-- Note against what several may share (company.lua) that a sender of it is under suspicion, or what a person said of it.
-- KEYS  1 what is known of it, packed as in company.lua
-- ARGV  1 sender's hash (4 octets) or ''   2 '' or 'good' or 'bad'   3 seconds to keep it

local MOST = 4096  -- senders that are told apart
local told = redis.call('GET', KEYS[1]) or struct.pack('<HHHHH', 0, 0, 0, 0, 0)
local hour, good, bad, senders, hot = struct.unpack('<HHHHH', told)
local entries = told:sub(11)
if ARGV[1] ~= '' then
    local at = entries:find(ARGV[1], 1, true)
    while at and (at - 1) % 8 ~= 0 do at = entries:find(ARGV[1], at + 1, true) end
    local mine = at and struct.unpack('<I4', entries, at + 4) or 0
    if mine % 2 == 0 and (at or #entries < 8 * MOST) then
        hot = math.min(hot + 1, 65535)
        local entry = struct.pack('<c4I4', ARGV[1], mine + 1)
        entries = at and entries:sub(1, at - 1) .. entry .. entries:sub(at + 8) or entries .. entry
    end
end
if ARGV[2] == 'good' then good = math.min(good + 1, 65535) end
if ARGV[2] == 'bad' then bad = math.min(bad + 1, 65535) end
redis.call('SET', KEYS[1], struct.pack('<HHHHH', hour, good, bad, senders, hot) .. entries, 'EX', ARGV[3])
