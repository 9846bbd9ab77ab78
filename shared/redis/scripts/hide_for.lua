-- Hides items from one user, or shows them again, and lets the user's list be computed again.
-- ARGV  user; how: 'hide' or 'show'; the items
-- Answers how many items were not hidden, or not shown, before; -1 if the user would hide over MOST_HIDES.
local stream, recents, versions, stale, recent, left, hides = unpack(KEYS)
local user, how = unpack(ARGV, 1, 2)
local items = { unpack(ARGV, 3) }

expect(stream, 'stream')
expect(recents, 'zset')
expect(versions, 'hash')
expect(stale, 'zset')
expect(recent, 'list')
expect(left, 'string')
expect(hides, 'set')
if how == 'hide' then
  local count = redis.call('SCARD', hides)
  for _, item in ipairs(items) do
    count = count + 1 - redis.call('SISMEMBER', hides, item)
  end
  if count > MOST_HIDES then return -1 end
end
local changed = redis.call(how == 'hide' and 'SADD' or 'SREM', hides, unpack(items))
if changed > 0 then
  rewrite_left(left, recent, hides)
  redis.call('ZADD', stale, note_recent(recents, versions, user, now_after(stream)), user)
end
return changed
