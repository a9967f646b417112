-- Write down what a judgement found: evidence, habits, a suspension. Written behind, not awaited.
-- KEYS  1 sender's record   2 account's record   3 what the keeper of the habits knows (set of 32-bit hashes)
-- ARGV  1 now   2 which record keeps the habits (1 or 2)   3 half-life of evidence (seconds)
--       4 1 if the message may become a habit   5 recipients   6 new recipients
--       7 traits present as '0'/'1' letters   8 new traits likewise   9 '' or 'sender' or 'account': suspend as of now
--       10 1 to take the message out of the windows again
--       11 number of pieces of evidence   12.. for each: slot, weight (nats), lowest and highest sum
--       after them the hashes of traits and recipients ('' for none), which become known with the habit

local now, keeper, half_life, habit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local sender = read(KEYS[1])
age_sums(sender, now, half_life)
local last = 11 + 4 * tonumber(ARGV[11])
for i = 12, last, 4 do
    add_evidence(sender, tonumber(ARGV[i]), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]))
end
if ARGV[9] == 'sender' then sender[F.suspended] = now end

local account = nil
local uncount = ARGV[10] == '1'
if habit or uncount or ARGV[9] == 'account' then
    account = read(KEYS[2])
    if ARGV[9] == 'account' then account[F.suspended] = now end
end
if habit then
    local known = {}
    for i = last + 1, #ARGV do if ARGV[i] ~= '' then known[#known + 1] = ARGV[i] end end
    if #known > 0 and redis.call('SADD', KEYS[3], unpack(known)) > 0 then redis.call('EXPIRE', KEYS[3], KEEP) end
    for n, v in ipairs({ sender, account }) do
        v[F.messages] = v[F.messages] + 1
        v[F.recipients] = v[F.recipients] + tonumber(ARGV[5])
        v[F.new] = v[F.new] + tonumber(ARGV[6])
        if v[F.recipients] > 4000 then  -- Old habits fade when there is plenty of news.
            v[F.recipients] = v[F.recipients] / 2
            v[F.new] = v[F.new] / 2
        end
        if n == keeper then
            for t = 1, TRAITS do
                if ARGV[7]:sub(t, t) == '1' then
                    local at = F.network_seen + (t - 1) * 2
                    v[at] = v[at] + 1
                    if ARGV[8]:sub(t, t) == '1' then v[at + 1] = v[at + 1] + 1 end
                    if v[at] > 2000 then
                        v[at] = v[at] / 2
                        v[at + 1] = v[at + 1] / 2
                    end
                end
            end
        end
    end
end
if uncount then
    for _, v in ipairs({ sender, account }) do
        for _, at in ipairs({ F.minute, F.hour, F.day }) do
            v[at + 1] = math.max(0, v[at + 1] - 1)
            v[at + 2] = math.max(0, v[at + 2] - tonumber(ARGV[5]))
            v[at + 3] = math.max(0, v[at + 3] - tonumber(ARGV[6]))
        end
    end
end
write(KEYS[1], sender)
if account then write(KEYS[2], account) end
