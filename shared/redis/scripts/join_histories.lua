-- Moves the recent history of a visitor to a user, as at a login: its events are the user's, in their order, and so are
-- the items that the visitor hides. Events that an import has taken stay: they are the visitor's in its snapshot.
-- KEYS  then recent, left and hides of the visitor, and of the user
-- ARGV  visitor, user
-- Answers how many events were moved;
--   -1 if the user would have over MOST_RECENT of them, -2 if the visitor has more, -3 if the user would hide over MOST_HIDES
local stream, taken, later, recents, versions, stale, from, from_left, from_hides, to, to_left, to_hides = unpack(KEYS)
local visitor, user = unpack(ARGV)

expect(stream, 'stream')
expect(later, 'hash')
expect(recents, 'zset')
expect(versions, 'hash')
expect(stale, 'zset')
for _, key in ipairs({ from, to }) do expect(key, 'list') end
for _, key in ipairs({ from_left, to_left }) do expect(key, 'string') end
for _, key in ipairs({ from_hides, to_hides }) do expect(key, 'set') end
local entries, mark, stay = redis.call('LRANGE', from, 0, -1), text_at(taken) or '', 0
while stay < #entries and not is_after(entries[stay + 1], mark) do
  stay = stay + 1
end
local hidden, moved = redis.call('SCARD', from_hides), #entries - stay
if is_after(redis.call('HGET', later, visitor) or '', mark) then return -2 end
if moved == 0 and hidden == 0 then return 0 end
if hidden > 0 and redis.call('SCARD', to_hides) + hidden > MOST_HIDES then return -3 end
if redis.call('LLEN', to) + moved > MOST_RECENT then return -1 end
redis.call('DEL', from_left) -- A removal comes first.
if stay == 0 then
  redis.call('DEL', from)
else
  redis.call('LTRIM', from, 0, stay - 1)
end
for i = stay + 1, #entries do
  local at, event = string.match(entries[i], '^(%d+%-%d+) (.*)$')
  if at then
    redis.call('XDEL', stream, at)
    local now_at = redis.call('XADD', stream, '*', 'user', user, 'event', event)
    redis.call('RPUSH', to, now_at .. ' ' .. event)
  end
end
if hidden > 0 then
  redis.call('SUNIONSTORE', to_hides, to_hides, from_hides)
  redis.call('DEL', from_hides)
end
rewrite_left(from_left, from, from_hides)
rewrite_left(to_left, to, to_hides)
-- The visitor may have a list too.
for _, name in ipairs({ visitor, user }) do
  redis.call('ZADD', stale, note_recent(recents, versions, name, now_after(stream)), name)
end
return moved
