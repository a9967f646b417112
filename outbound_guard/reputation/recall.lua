-- Read what is known of a sender and count one message, in one step.
-- KEYS  1 sender's record   2 account's record   3 what the keeper of the habits knows (set of 32-bit hashes)
--       4 networks of late that it does not know
-- ARGV  1 now (unix seconds)   2 which record keeps the habits (1 or 2)   3 1 to count, 0 to look only
--       4 number of recipients   5.. one hash for each trait ('' if it has none), then the recipients' hashes
-- Returns { sender's record, account's record, number of new recipients, new traits as '0'/'1' letters }

local now, keeper, counting, recipients = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4])
local CALM = 3  -- nats; an hour with more suspicion than this does not become a habit

local asked = {}
for i = 5, #ARGV do if ARGV[i] ~= '' then asked[#asked + 1] = ARGV[i] end end
local traits, fresh = {}, 0
if #asked > 0 then
    local known = redis.call('SMISMEMBER', KEYS[3], unpack(asked))
    local j = 0
    for i = 5, #ARGV do
        local is_new = false
        if ARGV[i] ~= '' then
            j = j + 1
            is_new = known[j] == 0
        end
        if i < 5 + TRAITS then
            traits[#traits + 1] = is_new and '1' or '0'
        elseif is_new then
            fresh = fresh + 1
        end
    end
end
traits = table.concat(traits)

local records = { read(KEYS[1]), read(KEYS[2]) }
if not counting then
    return { struct.pack(FORMAT, unpack(records[1], 1, FIELDS)), struct.pack(FORMAT, unpack(records[2], 1, FIELDS)), fresh, traits }
end
local networks = 0
if traits:sub(1, 1) == '1' then
    redis.call('SADD', KEYS[4], ARGV[5])
    redis.call('EXPIRE', KEYS[4], 7200)
    networks = redis.call('SCARD', KEYS[4])
end

-- A window that is over sets the habit, if it went by calmly; at most doubling it, so that one burst is no habit.
local function roll(v, at, length, mean, peak, fade)
    local index = math.floor(now / length)
    if v[at] == index then return end
    local passed = index - v[at]
    local count = v[at + 2]
    if mean and v[at] > 0 and suspicion(v) < CALM then
        v[peak] = math.max(v[peak] * fade ^ math.min(passed, 10000), math.min(count, v[peak] * 2 + 10))
        v[mean] = v[mean] + (count - v[mean]) * 0.1
        if at == F.day then v[F.days] = v[F.days] + 1 end
    end
    local before = F.minute_before_messages + (at - F.minute) / 4 * 3
    for k = 0, 2 do
        v[before + k] = passed == 1 and v[at + 1 + k] or 0
        v[at + 1 + k] = 0
    end
    v[at] = index
end

for n = 1, 2 do
    local v = records[n]
    if v[F.first] == 0 then v[F.first] = now end
    roll(v, F.minute, 60)
    roll(v, F.hour, 3600, F.hour_mean, F.hour_peak, 0.998)
    roll(v, F.day, 86400, F.day_mean, F.day_peak, 0.97)
    for _, at in ipairs({ F.minute, F.hour, F.day }) do
        v[at + 1] = v[at + 1] + 1
        v[at + 2] = v[at + 2] + recipients
        v[at + 3] = v[at + 3] + fresh
    end
    if n == keeper then v[F.networks] = networks end
    v[F.last] = math.max(now, v[F.last])
end
return { write(KEYS[1], records[1]), write(KEYS[2], records[2]), fresh, traits }
