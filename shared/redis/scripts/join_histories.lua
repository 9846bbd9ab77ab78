-- Moves the recent history of a visitor to a user, as at a login: its events are the user's, in their order, and so are
-- the items that the visitor hides.
-- KEYS  then recent, left and hides of the visitor, and of the user
-- ARGV  visitor, user
-- Answers how many events were moved, or -1 if the user would have over MOST_RECENT of them.
local stream, recents, versions, stale, from, from_left, from_hides, to, to_left, to_hides = unpack(KEYS)
local visitor, user = unpack(ARGV)

expect(stream, 'stream')
expect(recents, 'zset')
expect(versions, 'hash')
expect(stale, 'zset')
for _, key in ipairs({ from, to }) do expect(key, 'list') end
for _, key in ipairs({ from_left, to_left }) do expect(key, 'string') end
for _, key in ipairs({ from_hides, to_hides }) do expect(key, 'set') end
local entries = redis.call('LRANGE', from, 0, -1)
local hidden = redis.call('SCARD', from_hides)
if #entries == 0 and hidden == 0 then return 0 end
if redis.call('LLEN', to) + #entries > MOST_RECENT then return -1 end
redis.call('DEL', from, from_left) -- A removal comes first.
for _, entry in ipairs(entries) do
  local at, event = string.match(entry, '^(%d+%-%d+) (.*)$')
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
rewrite_left(to_left, to, to_hides)
-- The visitor may have a list too.
for _, name in ipairs({ visitor, user }) do
  redis.call('ZADD', stale, note_recent(recents, versions, name, now_after(stream)), name)
end
return #entries
