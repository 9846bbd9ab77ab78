-- Drops from the recent histories of some users the events up to a mark, which the live snapshots hold.
-- KEYS  for each user: recent, left, hides
-- ARGV  the mark, an id of the stream; made_ms, since when all lists were made; for each user: name
-- Answers how many events were dropped.
local recents, versions, later = unpack(KEYS, 1, 3)
local count, keys_of = tail(KEYS, 3, 3)
local mark, made_ms = unpack(ARGV, 1, 2)
local _, name_of = tail(ARGV, 2, 1)

local counted = math.max(tonumber(string.match(mark, '^%d+')) + 1, tonumber(made_ms)) * 1000

expect(recents, 'zset')
expect(versions, 'hash')
expect(later, 'hash')
local dropped = 0
for i = 1, count do
  local recent, left, hides = keys_of(i)
  for key, wanted in pairs({ [recent] = 'list', [hides] = 'set' }) do
    local found = redis.call('TYPE', key).ok
    if found ~= 'none' and found ~= wanted then
      -- It was planted.
      redis.call('DEL', key)
    end
  end
  local entries = redis.call('LRANGE', recent, 0, -1)
  local old = 0
  while old < #entries and not is_after(entries[old + 1], mark) do
    old = old + 1
  end
  if old > 0 then
    redis.call('LTRIM', recent, old, -1)
    rewrite_left(left, recent, hides)
    dropped = dropped + old
  end
  local name = name_of(i)
  local later_at = redis.call('HGET', later, name)
  if later_at and not is_after(later_at, mark) then
    redis.call('HDEL', later, name)
    later_at = false
  end
  local version = tonumber(redis.call('HGET', versions, name)) or 0
  -- A run may have begun before a later change, such as the loss of all events to another user.
  if old == #entries and not later_at and redis.call('EXISTS', hides) == 0 and version < counted then
    redis.call('DEL', left)
    redis.call('ZREM', recents, name)
    redis.call('HDEL', versions, name)
  end
end
return dropped
