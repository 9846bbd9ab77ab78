-- Notes that items were shown to a user, and lets these notes live for LIFE_BUCKETS buckets from now.
-- KEYS  the user's impressions
-- ARGV  the length of a bucket and the user's offset, ms; the items
-- A value has the bucket of the last impression, how many there were in it, and the sum of those before, halved with
-- each bucket. Above MOST_SHOWN items, those that count no more are dropped, and the oldest beyond three quarters of it.
-- Answers how many items there are notes of.
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

if redis.call('HLEN', shown) > MOST_SHOWN then
  local fields, notes = redis.call('HGETALL', shown), {}
  for i = 1, #fields, 2 do
    local last, inside, before = string.match(fields[i + 1], '^(%d+) (%d+) (%S+)$')
    notes[#notes + 1] = {
      item = fields[i], last = tonumber(last) or 0, sum = (tonumber(inside) or 0) + (tonumber(before) or 0),
    }
  end
  table.sort(notes, function(a, b)
    if a.last ~= b.last then return a.last > b.last end
    if a.sum ~= b.sum then return a.sum > b.sum end
    return a.item < b.item
  end)
  local dropped = {}
  for place, note in ipairs(notes) do
    if place > MOST_SHOWN * 3 / 4 or bucket - note.last >= LIFE_BUCKETS then
      dropped[#dropped + 1] = note.item
    end
  end
  redis.call('HDEL', shown, unpack(dropped))
end
redis.call('PEXPIRE', shown, number(LIFE_BUCKETS * length))
return redis.call('HLEN', shown)
