-- Notes that items were shown to a user, and lets these notes live for LIFE_BUCKETS buckets from now.
-- KEYS  the user's impressions
-- ARGV  the length of a bucket and the user's offset, ms; the items
-- A value has the bucket of the last impression, how many there were in it, and the sum of those before, halved with
-- each bucket. Answers how many items there are notes of.
local shown = unpack(KEYS)
local length, offset = unpack(ARGV, 1, 2)
local count, item_of = tail(ARGV, 2, 1)

local LIFE_BUCKETS = 20
expect(shown, 'hash')
local bucket = math.floor((now_ms() + offset) / length)
for i = 1, count do
  local last, inside, before = string.match(redis.call('HGET', shown, item_of(i)) or '', '^(%d+) (%d+) (%S+)$')
  last, inside, before = tonumber(last), tonumber(inside) or 0, tonumber(before) or 0
  if last and bucket > last then
    before = (before + inside) * 0.5 ^ (bucket - last)
    inside = 0
  end
  redis.call('HSET', shown, item_of(i), string.format('%.0f %.0f %.17g', bucket, inside + 1, before))
end
redis.call('PEXPIRE', shown, number(LIFE_BUCKETS * length))
return redis.call('HLEN', shown)
