-- Shared by the scripts that learn, behind record.lua: what becomes known, and what of it fades.

local function traffic_of(packed)
    if packed ~= '' then return { unpack_at(T.FORMAT, packed, 2) } end
    local v = {}
    for i = 1, T.COUNT do v[i] = 0 end
    return v
end

local function profile_of(packed)
    if #packed > HEAD then return { unpack_at(P.FORMAT, packed, HEAD + 1) } end
    local v = {}
    for i = 1, P.COUNT do v[i] = 0 end
    return v
end

-- Put a profile into a record; its tail stays, or becomes another.
local function write_profile(key, before, v, tail)
    local profile = pack(P.FORMAT, unpack(v, 1, P.COUNT))
    if #before > HEAD and not tail then
        call('SETRANGE', key, HEAD, profile)
    else
        local traffic = before ~= '' and sub(before, 2, HEAD) or string.rep('\0', T.SIZE)
        write(key, before, traffic, profile, tail or tail_of(before))
    end
end

local function add_apart(key, hashes)
    local added = 0
    for first = 1, #hashes, 4000 do
        added = added + call('SADD', key, unpack(numbers(hashes, first, min(first + 3999, #hashes))))
    end
    return added
end

-- Make hashes known; how many were not.
local function make_known(tail, key, hashes)
    if tail.apart == 1 then return add_apart(key, hashes) end
    local added = 0
    for at = 1, #hashes, 4 do
        local hash = sub(hashes, at, at + 3)
        if not place(tail.known, hash, 1, 4) then
            tail.known = tail.known .. hash
            added = added + 1
            if #tail.known > MOST_INSIDE then
                -- A set that is left from before goes on: who has one, had many.
                add_apart(key, tail.known)
                tail.known, tail.apart = '', 1
                if at + 4 <= #hashes then added = added + add_apart(key, sub(hashes, at + 4)) end
                call('EXPIRE', key, KEEP)
                break
            end
        end
    end
    return added
end

-- Old habits fade when there is plenty of news: what was seen so often, and in the next field how often it was new, is
-- halved.
local MOST_RECIPIENTS, MOST_SEEN = 4000, 2000
local function halve(v, i)
    v[i], v[i + 1] = v[i] / 2, v[i + 1] / 2
end
