-- Drops from the recent histories of some users the events up to a mark, which the live snapshots hold.
-- KEYS  for each user: recent, left, hides
-- ARGV  the two numbers of the mark, an id of the stream; made_ms, since when all lists were made; for each user: name
-- Answers how many events were dropped.
local recents, versions = unpack(KEYS, 1, 2)
local count, keys_of = tail(KEYS, 2, 3)
local mark_ms, mark_sequence, made_ms = unpack(ARGV, 1, 3)
local _, name_of = tail(ARGV, 3, 1)

local ms, sequence = tonumber(mark_ms), tonumber(mark_sequence)
local counted = math.max(ms + 1, tonumber(made_ms)) * 1000

local function is_old(entry)
  local entry_ms, entry_sequence = string.match(entry, '^(%d+)%-(%d+) ')
  entry_ms, entry_sequence = tonumber(entry_ms), tonumber(entry_sequence)
  -- An unreadable entry was planted.
  return not entry_ms or entry_ms < ms or entry_ms == ms and entry_sequence <= sequence
end

expect(recents, 'zset')
expect(versions, 'hash')
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
  while old < #entries and is_old(entries[old + 1]) do
    old = old + 1
  end
  if old > 0 then
    redis.call('LTRIM', recent, old, -1)
    rewrite_left(left, recent, hides)
    dropped = dropped + old
  end
  local name = name_of(i)
  local version = tonumber(redis.call('HGET', versions, name)) or 0
  -- A run may have begun before a later change, such as the loss of all events to another user.
  if old == #entries and redis.call('EXISTS', hides) == 0 and version < counted then
    redis.call('DEL', left)
    redis.call('ZREM', recents, name)
    redis.call('HDEL', versions, name)
  end
end
return dropped
