-- Shared by the scripts that follow it: what several may share (a text, a client's address), and who has sent it.
--
-- It is one string: '<HHHHH' hour of the last change, times that people said good, and bad, senders, senders under
-- suspicion; then of each sender '<c4I4' its hash, and twice how often it sent it, plus 1 if it is under suspicion.
-- Of more than FEW senders these are a table: NONE and '<HH' its places and how many are taken, then the places.
-- A sender has the place of its hash, modulo the number of places, or the next free one (linear probing).

local FEW, MOST = 16, 4096  -- senders that lie in a row, and that are told apart
local EMPTY = '\0\0\0\0\0\0\0\0'

-- What lies there, up to FEW senders, and of one sender: where its entry is, or is to be (0-based); its number, 0 if it
-- has none; how many have one; places of the table, if it is one.
local function look(key, hash)
    local told = call('GETRANGE', key, '0', '138')
    if find(told, NONE, 11, true) == 11 then
        local places, taken = unpack_at('<HH', told, 15)
        local at = unpack_at('<I4', hash) % places
        for _ = 1, places do
            local first = 18 + at * 8
            local some = call('GETRANGE', key, first, first + 63)
            local here = place(some, hash, 1, 8)
            if here then
                local mine = unpack_at('<I4', some, here + 4)
                return told, first + here - 1, mine, taken, places
            end
            here = place(some, EMPTY, 1, 8)
            if here then return told, first + here - 1, 0, taken, places end
            at = at + #some / 8
            if at >= places then at = 0 end
        end
        return '', 0, 0, 0, nil  -- It is damaged: it begins anew, rather than that it is looked through for ever.
    end
    -- More than a few in a row are of an older version: they become a table as soon as one is added.
    if #told == 139 then told = call('GET', key) end
    local at = place(told, hash, 11, 8)
    local mine = at and unpack_at('<I4', told, at + 4) or 0
    return told, at and at - 1 or #told, mine, (#told - 10) / 8, nil
end

-- Entries in a table of so many places.
local function spread(entries, places)
    local all = {}
    for at = 1, places do all[at] = EMPTY end
    for first = 1, #entries, 8 do
        local entry = sub(entries, first, first + 7)
        if entry ~= EMPTY then
            local at = unpack_at('<I4', entry) % places
            while all[at + 1] ~= EMPTY do at = (at + 1) % places end
            all[at + 1] = entry
        end
    end
    return table.concat(all)
end

-- Write the entry of a sender where it was looked for, and the head if it has changed.
local function put(key, told, at, entry, is_new, taken, places, head)
    if is_new then taken = taken + 1 end
    if is_new and taken > (places and places * 0.8 or FEW) then
        local entries = places and sub(call('GET', key), 19) or sub(told, 11)
        local more = floor(taken * 1.8)
        local all = spread(entries .. entry, more)
        call('SET', key, head .. NONE .. pack('<HH', more, taken) .. all, 'KEEPTTL')
        return
    end
    call('SETRANGE', key, at, entry)
    if is_new and places then head = head .. NONE .. pack('<HH', places, taken) end
    if head then call('SETRANGE', key, '0', head) end
end

-- Count a sender, unless `counting` is 0, and say who else there is, packed: '<HHHHI4' senders, others under suspicion,
-- good, bad, times that this sender sent it.
local function meet(key, hash, counting, hour, keep, keep_once)
    local told, at, mine, taken, places = look(key, hash)
    if told == '' then
        if counting == 0 then return pack('<HHHHI4', 0, 0, 0, 0, 0) end
        call('SET', key, pack('<HHHHHc4I4', hour, 0, 0, 1, 0, hash, 2), 'EX', keep_once)
        return pack('<HHHHI4', 1, 0, 0, 0, 1)
    end
    local before, good, bad, senders, hot = unpack_at('<HHHHH', told)
    if counting == 1 and (mine > 0 or taken < MOST) then
        local is_new, head = mine == 0, nil
        if mine < 2 then senders = senders + 1 end
        mine = mine + 2
        -- What is sent often need not be told every time that it is to be kept.
        if mine < 6 or before ~= hour then head = pack('<HHHHH', hour, good, bad, senders, hot) end
        put(key, told, at, pack('<c4I4', hash, mine), is_new, taken, places, head)
        if head then call('EXPIRE', key, keep) end
    end
    return pack('<HHHHI4', senders, hot - mine % 2, good, bad, floor(mine / 2))
end
