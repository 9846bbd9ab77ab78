-- Hides items from everybody, shows them again, or drops those whose time is over.
-- ARGV  how: 'hide', 'show' or 'expire'; until ms ('' for ever; of 'hide' only); the items
-- Answers how many items have changed. Then the version is another one, and the changes are noted.
local hidden, version, changes = unpack(KEYS)
local how, until_ms = unpack(ARGV, 1, 2)
local count, item_of = tail(ARGV, 2, 1)

expect(hidden, 'zset')
expect(version, 'string')
if how == 'expire' then
  local over = redis.call('ZREMRANGEBYSCORE', hidden, '-inf', number(now_ms()))
  if over > 0 then
    -- Readers know these items' time.
    note_hidden(version, changes, { '' }, '')
  end
  return over
end
local score, changed = until_ms ~= '' and until_ms or '+inf', {}
for i = 1, count do
  local item = item_of(i)
  local has_changed = how == 'show' and redis.call('ZREM', hidden, item) or redis.call('ZADD', hidden, 'CH', score, item)
  if has_changed == 1 then
    changed[#changed + 1] = item
  end
end
if #changed > 0 then
  note_hidden(version, changes, changed, how == 'show' and '' or score)
end
return #changed
