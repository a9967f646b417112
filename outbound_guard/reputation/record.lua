-- Shared by the scripts that follow it: reading and writing records (fields and layouts: memory.py).
--
-- A record is one string, since each key costs more than what a sender has in it, and each call more than to unpack it:
--   MARK, which names the layout; the traffic
--   and, as soon as there is anything to learn, the profile and a tail:
--   '<BHB' numbers of networks and of young traits; 1 if what is known lies apart, in a set of its own
--   networks of the last two hours that are not known: hash (4 octets) and time ('<I4') each
--   young: traits that are not known yet, hash and time of first sight each
--   known: hashes, unless they lie apart

-- Seconds (60 days); garbage collection only, age is judged by the stored times. Who sends has all its records kept
-- anew each day (recall.lua), so that a write need not say it again.
local KEEP = 5184000
local MOST_INSIDE = 512  -- octets of known hashes; a key of its own costs as much as a third of that
local HEAD = 1 + T.SIZE
local BODY = HEAD + P.SIZE

-- A record as it lies there; empty if there is none, or it is of another layout: memory may be lost.
local function open(packed)
    if packed and find(packed, MARK, 1, true) == 1 and (#packed == HEAD or #packed >= BODY + 4) then return packed end
    return ''
end

-- Put a whole record in the place of what was there.
local function write(key, before, traffic, profile, tail)
    local sizes = pack('<BHB', #tail.networks / 8, #tail.young / 8, tail.apart)
    local packed = MARK .. traffic .. profile .. sizes .. tail.networks .. tail.young .. tail.known
    if before == '' then
        call('SET', key, packed, 'EX', KEEP)
    else
        call('SET', key, packed, 'KEEPTTL')
    end
end

-- What follows the profile.
local function tail_of(packed)
    if #packed <= HEAD then return { networks = '', young = '', known = '', apart = 0 } end
    local networks, young, apart, at = unpack_at('<BHB', packed, BODY + 1)
    local second = at + networks * 8
    local third = second + young * 8
    return {
        networks = sub(packed, at, second - 1),
        young = sub(packed, second, third - 1),
        known = sub(packed, third),
        apart = apart,
    }
end

-- Hashes as numbers: a set of such takes 4 octets each (intset).
local function numbers(hashes, first, last)
    local count = (last - first + 1) / 4
    local all = { unpack_at('>' .. string.rep('i4', count), hashes, first) }
    all[count + 1] = nil  -- where reading ended
    return all
end
