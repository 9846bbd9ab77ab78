-- Reads what was shown to users.
-- KEYS  each user's impressions
-- ARGV  the length of a bucket, ms; for each user: the offset, ms
-- Answers for each user the bucket of now, and the items with their values; see `impress.lua`.
local users = KEYS
local length = unpack(ARGV, 1, 1)
local _, offset_of = tail(ARGV, 1, 1)

local now, answer = now_ms(), {}
for i, shown in ipairs(users) do
  local fields = redis.pcall('HGETALL', shown)
  -- A key of another type was planted.
  answer[i] = { number(math.floor((now + offset_of(i)) / length)), fields.err and {} or fields }
end
return answer
