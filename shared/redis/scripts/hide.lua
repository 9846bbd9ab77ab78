-- Hides items from everybody, shows them again, or drops those whose time is over.
-- ARGV  how: 'hide', 'show' or 'expire'; until ms ('' for ever; of 'hide' only); the items
-- Answers how many items have changed. Then the version is another one.
local hidden, version = unpack(KEYS)
local how, until_ms = unpack(ARGV, 1, 2)
local count, item_of = tail(ARGV, 2, 1)

expect(hidden, 'zset')
expect(version, 'string')
local changed = 0
if how == 'expire' then
  changed = redis.call('ZREMRANGEBYSCORE', hidden, '-inf', number(now_ms()))
elseif how == 'show' then
  for i = 1, count do
    changed = changed + redis.call('ZREM', hidden, item_of(i))
  end
else
  for i = 1, count do
    changed = changed + redis.call('ZADD', hidden, 'CH', until_ms ~= '' and until_ms or '+inf', item_of(i))
  end
end
if changed > 0 and type(redis.pcall('INCR', version)) ~= 'number' then
  -- A planted value is not a number.
  redis.call('SET', version, number(now_ms()))
end
return changed
