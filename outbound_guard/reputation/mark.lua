-- Note against what several may share (company.lua) that a sender of it is under suspicion, or what a person said of it.
-- KEYS  what is known of each
-- ARGV  1 '' or 'good' or 'bad', what a person said, or 'complaint', a recipient
--       2 packed, for each key: '<c4I4' the sender's hash, or NONE; seconds to keep it

local at = 1
for n = 1, #KEYS do
    local key, hash, keep = KEYS[n], nil, nil
    hash, keep, at = unpack_at('<c4I4', ARGV[2], at)
    local told, here, mine, taken, places = look(key, hash)
    local there = told ~= ''
    if not there then
        told, here, taken = pack('<HHHHH', 0, 0, 0, 0, 0), 10, 0
        call('SET', key, told, 'EX', keep)
    end
    local hour, good, bad, senders, hot = unpack_at('<HHHHH', told)
    local is_hot = hash ~= NONE and mine % 2 == 0 and (mine > 0 or taken < MOST)
    if is_hot then hot = min(hot + 1, 65535) end
    if ARGV[1] == 'good' then good = min(good + 1, 65535) end
    if ARGV[1] == 'bad' then bad = min(bad + 1, 65535) end
    local head = pack('<HHHHH', hour, good, bad, senders, hot)
    if is_hot then
        put(key, told, here, pack('<c4I4', hash, mine + 1), mine == 0, taken, places, head)
    elseif head ~= sub(told, 1, 10) then
        call('SETRANGE', key, '0', head)
    end
    -- Who is under suspicion already, and has just been counted, changes nothing.
    if there and (is_hot or ARGV[1] ~= '') then call('EXPIRE', key, keep) end
end
