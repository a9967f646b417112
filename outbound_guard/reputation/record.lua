-- Shared by the scripts that follow it: reading, ageing and writing one record (fields: memory.py).

local KEEP = 5184000  -- seconds (60 days); garbage collection only, age is judged by the stored times

local function read(key)
    local packed = redis.call('GET', key)
    local v
    if packed and #packed == struct.size(FORMAT) then
        v = { struct.unpack(FORMAT, packed) }
    else
        v = {}
        for i = 1, FIELDS do v[i] = 0 end
    end
    return v
end

local function write(key, v)
    local packed = struct.pack(FORMAT, unpack(v, 1, FIELDS))
    redis.call('SET', key, packed, 'EX', KEEP)
    return packed
end

local function suspicion(v)
    local sum = 0
    for i = F.sum0, F.sum0 + SLOTS - 1 do sum = sum + v[i] end
    return sum
end

-- Move the running sums to `now`, then add one piece of evidence within its bounds.
local function age_sums(v, now, half_life)
    local dt = now - v[F.sums_at]
    if v[F.sums_at] > 0 and dt > 0 then
        local factor = 0.5 ^ (dt / half_life)
        for i = F.sum0, F.sum0 + SLOTS - 1 do v[i] = v[i] * factor end
    end
    v[F.sums_at] = math.max(now, v[F.sums_at])
end

local function add_evidence(v, slot, fresh, low, high)
    local i = F.sum0 + slot
    -- A sum beyond a bound that was wider before stays where it is rather than jumping.
    if fresh > 0 then
        v[i] = math.max(v[i], math.min(v[i] + fresh, high))
    else
        v[i] = math.min(v[i], math.max(v[i] + fresh, low))
    end
end
