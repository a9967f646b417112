-- Stands in front of all scripts: names of what is called often, and how hashes are looked up.
-- The server hashes every string that Lua makes, octet for octet: one of a kilobyte costs as much as a call. So scripts
-- read no more than they need, and look into what they have read instead of cutting it up.

local sub, find, pack, unpack_at, call = string.sub, string.find, struct.pack, struct.unpack, redis.call
local floor, max, min = math.floor, math.max, math.min
local NONE = '\0\0\0\0'  -- the hash of what a message does not have

-- Where a hash begins in a list of them that begins at `from`, `width` octets apart, or nil.
local function place(list, hash, from, width)
    local at = find(list, hash, from, true)
    while at and (at - from) % width ~= 0 do at = find(list, hash, at + 1, true) end
    return at
end
