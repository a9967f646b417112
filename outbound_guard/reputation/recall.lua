-- Read what is known of a sender and count one message, in one step.
-- KEYS  1 sender's record   2 account's record   3 what the keeper of the habits knows, if that lies apart
--       4 what is known of the text (company.lua), if there is one and it may be asked together with the others
-- ARGV  1 packed ('<dBBHB'): now (unix seconds), 1 to count, 0 to look only, which record keeps the habits (1 sender,
--         2 account), number of recipients, of their domains
--       2 hashes, 4 octets each: of each trait (NONE if it has none), then of recipients, then of their domains
--       3 of the text, packed ('<c4HI4I4'): sender's hash, hour, seconds to keep it, the same of what was sent only once
-- Returns { sender's traffic as far as it has changed, account's, sender's record as it was, account's,
--           packed ('<HHHHB'): traits never seen, and seen, but not for long enough (bits), number of new recipients, of
--           new domains, of networks of late; then hashes of new recipients and domains,
--           of the text, as meet in company.lua tells it }

local now, counting, keeper, recipients, domains = unpack_at('<dBBHB', ARGV[1])
local hashes = ARGV[2]
local CALM = 3  -- nats; an hour with more suspicion than this does not become a habit
local MOST_NETWORKS = 255

local found = call('MGET', KEYS[1], KEYS[2])
local records = { open(found[1]), open(found[2]) }
local habits = records[keeper]
-- Where these begin in the record; behind its end if it has none.
local networks_at, young_at, known_at, apart = #habits + 1, #habits + 1, #habits + 1, nil
if #habits > HEAD then
    local networks, young
    networks, young, apart, networks_at = unpack_at('<BHB', habits, BODY + 1)
    young_at = networks_at + networks * 8
    known_at = young_at + young * 8
    apart = apart == 1 and call('SMISMEMBER', KEYS[3], unpack(numbers(hashes, 1, #hashes)))
end

local never, waiting, bit = 0, 0, 1
for i = 1, TRAITS do
    local hash = sub(hashes, i * 4 - 3, i * 4)
    if hash ~= NONE then
        local is_new
        if apart then is_new = apart[i] == 0 else is_new = not place(habits, hash, known_at, 4) end
        if is_new then
            local at = place(habits, hash, young_at, 8)
            if at and at < known_at then waiting = waiting + bit else never = never + bit end
        end
    end
    bit = bit * 2
end
local fresh, fresh_domains, unknown, count = 0, 0, {}, #hashes / 4
for i = TRAITS + 1, count do
    local hash, is_new = sub(hashes, i * 4 - 3, i * 4), nil
    if apart then is_new = apart[i] == 0 else is_new = not place(habits, hash, known_at, 4) end
    if is_new and hash ~= NONE then
        unknown[#unknown + 1] = hash
        if i > count - domains then fresh_domains = fresh_domains + 1 else fresh = fresh + 1 end
    end
end

local tail, networks = nil, 0
if (never + waiting) % 2 == 1 then  -- The network is the first trait.
    local mine, kept = sub(hashes, 1, 4), ''
    for at = networks_at, young_at - 1, 8 do
        local one = sub(habits, at, at + 7)
        if unpack_at('<I4', one, 5) > now - 7200 and not (counting == 1 and sub(one, 1, 4) == mine) then
            kept = kept .. one
        end
    end
    if counting == 1 then
        kept = sub(kept .. mine .. pack('<I4', now), -8 * MOST_NETWORKS)
        tail = tail_of(habits)
        tail.networks = kept
    end
    networks = #kept / 8
end

-- A window that is over sets the habit, if it went by calmly; at most doubling it, so that one burst is no habit.
local function peaked(record, peak, fade, passed, sent)
    local sum = 0
    if #record > HEAD then
        local sums = { unpack_at('<' .. string.rep('f', SLOTS), record, HEAD + P.SUMS_AT) }
        for i = 1, SLOTS do sum = sum + sums[i] end
    end
    if sum >= CALM then return peak end
    return max(peak * fade ^ min(passed, 10000), min(sent, peak * 2 + 10))
end

local changed = {}
for n = 1, counting * 2 do
    local record, key = records[n], KEYS[n]
    local minute, hour, day = floor(now / 60), floor(now / 3600), floor(now / 86400)
    local m, m1, m2, m3, h, h1, h2, h3, d, d1, d2, d3 = 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
    if record ~= '' then m, m1, m2, m3, h, h1, h2, h3, d, d1, d2, d3 = unpack_at('<I4fffI4fffI4fff', record, 2) end
    local traffic
    if m == minute and h == hour and d == day then
        traffic = pack('<I4fffI4fffI4fff', m, m1 + 1, m2 + recipients, m3 + fresh, h, h1 + 1, h2 + recipients,
            h3 + fresh, d, d1 + 1, d2 + recipients, d3 + fresh)
    else
        local a1, a2, a3, b1, b2, b3, c1, c2, c3, hour_peak, day_peak = 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
        if record ~= '' then
            a1, a2, a3, b1, b2, b3, c1, c2, c3, hour_peak, day_peak = unpack_at('<fffffffffff', record, 50)
        end
        if m ~= minute then
            a1, a2, a3 = 0, 0, 0
            if m == minute - 1 then a1, a2, a3 = m1, m2, m3 end
            m1, m2, m3 = 0, 0, 0
        end
        if h ~= hour then
            if h > 0 then hour_peak = peaked(record, hour_peak, 0.998, hour - h, h2) end
            b1, b2, b3 = 0, 0, 0
            if h == hour - 1 then b1, b2, b3 = h1, h2, h3 end
            h1, h2, h3 = 0, 0, 0
        end
        if d ~= day then
            if d > 0 then day_peak = peaked(record, day_peak, 0.97, day - d, d2) end
            c1, c2, c3 = 0, 0, 0
            if d == day - 1 then c1, c2, c3 = d1, d2, d3 end
            d1, d2, d3 = 0, 0, 0
            if record ~= '' then call('EXPIRE', key, KEEP) end
            if apart and n == keeper then call('EXPIRE', KEYS[3], KEEP) end
        end
        traffic = pack(T.FORMAT, minute, m1 + 1, m2 + recipients, m3 + fresh, hour, h1 + 1, h2 + recipients,
            h3 + fresh, day, d1 + 1, d2 + recipients, d3 + fresh, a1, a2, a3, b1, b2, b3, c1, c2, c3,
            hour_peak, day_peak)
    end
    changed[n] = traffic
    if tail and n == keeper then
        if #traffic < T.SIZE then traffic = traffic .. sub(record, 2 + #traffic, HEAD) end
        local profile = #record > HEAD and sub(record, HEAD + 1, BODY) or string.rep('\0', P.SIZE)
        write(key, record, traffic, profile, tail)
    elseif record ~= '' then
        call('SETRANGE', key, '1', traffic)
    else
        call('SET', key, MARK .. traffic, 'EX', KEEP)
    end
end

local text = false
if KEYS[4] then
    local hash, hour, keep, keep_once = unpack_at('<c4HI4I4', ARGV[3])
    text = meet(KEYS[4], hash, counting, hour, keep, keep_once)
end
local numbers_found = pack('<HHHHB', never, waiting, fresh, fresh_domains, networks) .. table.concat(unknown)
return { changed[1] or '', changed[2] or '', records[1], records[2], numbers_found, text }
