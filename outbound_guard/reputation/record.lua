-- Shared by the scripts that follow it: reading, ageing and writing records (fields and layouts: memory.py).

-- Seconds (60 days); garbage collection only, age is judged by the stored times. Who sends has all its records kept
-- anew each day (recall.lua), so that a write need not say it again.
local KEEP = 5184000

local function decode(layout, packed)
    if packed and #packed == layout[2] then return { struct.unpack(layout[3], packed) } end
    local v = {}
    for i = 1, layout[1] do v[i] = 0 end
    return v
end

-- The record, and whether it is a new one.
local function read(layout, key)
    local packed = redis.call('GET', key)
    return decode(layout, packed), not packed
end

local function write(layout, key, v, is_new)
    local packed = struct.pack(layout[3], unpack(v, 1, layout[1]))
    if is_new then
        redis.call('SET', key, packed, 'EX', KEEP)
    else
        redis.call('SET', key, packed, 'KEEPTTL')
    end
    return packed
end

-- Old habits fade when there is plenty of news: what was seen so often, and in the next field how often it was new, is
-- halved.
local MOST_RECIPIENTS, MOST_SEEN = 4000, 2000
local function halve(v, i)
    v[i], v[i + 1] = v[i] / 2, v[i + 1] / 2
end

-- The sum of a profile's evidence, as it was when it last changed.
local function suspicion(v)
    local sum = 0
    for i = P.sum0, P.sum0 + SLOTS - 1 do sum = sum + v[i] end
    return sum
end

-- Move the running sums of a profile to `now`.
local function age_sums(v, now, half_life)
    local dt = now - v[P.sums_at]
    if v[P.sums_at] > 0 and dt > 0 then
        local factor = 0.5 ^ (dt / half_life)
        for i = P.sum0, P.sum0 + SLOTS - 1 do v[i] = v[i] * factor end
    end
    v[P.sums_at] = math.max(now, v[P.sums_at])
end

-- Add one piece of evidence to a profile within its bounds.
local function add_evidence(v, slot, fresh, low, high)
    local i = P.sum0 + slot
    -- A sum beyond a bound that was wider before stays where it is rather than jumping.
    if fresh > 0 then
        v[i] = math.max(v[i], math.min(v[i] + fresh, high))
    else
        v[i] = math.min(v[i], math.max(v[i] + fresh, low))
    end
end
