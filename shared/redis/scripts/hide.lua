-- Hides items from everybody, shows them again, or drops those whose time is over. Items that are not available are hidden
-- beside what people hide: while there are any, `by_hand` holds what people hide, and `hidden` the items of both, each
-- until the later time.
-- ARGV  how: 'hide' and 'show' by people, 'withdraw' and 'offer' by availability, or 'expire'; until ms ('' for ever; of
--       'hide' and 'withdraw' only); the items
-- Answers how many items have changed. Then the version is another one, and the changes are noted.
local hidden, version, changes, by_hand, unavailable = unpack(KEYS)
local how, until_ms = unpack(ARGV, 1, 2)
local count, item_of = tail(ARGV, 2, 1)

for _, key in ipairs({ hidden, by_hand, unavailable }) do expect(key, 'zset') end
expect(version, 'string')
if how == 'expire' then
  local now = number(now_ms())
  local over = redis.call('ZREMRANGEBYSCORE', hidden, '-inf', now)
  redis.call('ZREMRANGEBYSCORE', by_hand, '-inf', now)
  if redis.call('ZREMRANGEBYSCORE', unavailable, '-inf', now) > 0 and redis.call('EXISTS', unavailable) == 0 then
    redis.call('DEL', by_hand)
  end
  if over > 0 then
    -- Readers know these items' time.
    note_hidden(version, changes, { '' }, { '' })
  end
  return over
end
local is_split = redis.call('EXISTS', unavailable) == 1
if how == 'withdraw' and not is_split then
  redis.call('DEL', by_hand)
  redis.call('COPY', hidden, by_hand)
  is_split = true
end
local from = (how == 'withdraw' or how == 'offer') and unavailable or is_split and by_hand or hidden
local score, changed, untils = until_ms ~= '' and until_ms or '+inf', {}, {}
for i = 1, count do
  local item, has_changed = item_of(i), nil
  if how == 'show' or how == 'offer' then
    has_changed = redis.call('ZREM', from, item)
  else
    has_changed = redis.call('ZADD', from, 'CH', score, item)
  end
  if has_changed == 1 then
    if is_split then
      local first, second = redis.call('ZSCORE', by_hand, item), redis.call('ZSCORE', unavailable, item)
      if first and second then
        redis.call('ZADD', hidden, tonumber(first) > tonumber(second) and first or second, item)
      elseif first or second then
        redis.call('ZADD', hidden, first or second, item)
      else
        redis.call('ZREM', hidden, item)
      end
    end
    changed[#changed + 1] = item
    untils[#changed] = redis.call('ZSCORE', hidden, item) or ''
  end
end
if redis.call('EXISTS', unavailable) == 0 then
  redis.call('DEL', by_hand)
end
if #changed > 0 then
  note_hidden(version, changes, changed, untils)
end
return #changed
