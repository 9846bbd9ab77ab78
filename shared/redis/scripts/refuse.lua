-- Sets invalid bytes aside: counted once, up to 4 KiB of them kept as a dead letter.
-- KEYS  key: the place of the bytes
-- ARGV  of: the kind of bytes; how: the bytes are a 'string', 'field' or 'member'; the name of a field
-- Answers 1, or 0 when the bytes are gone: another caller has counted them.
local refused, dead, key = unpack(KEYS)
local of, id, reason, how, bytes, field = unpack(ARGV)

expect(refused, 'hash')
expect(dead, 'stream')
-- A removal comes first.
if how == 'string' then
  if redis.call('GET', key) ~= bytes then return 0 end
  redis.call('DEL', key)
elseif how == 'field' then
  if redis.call('HGET', key, field) ~= bytes then return 0 end
  redis.call('HDEL', key, field)
elseif redis.call('ZREM', key, bytes) == 0 then
  return 0
end
count_refused(refused, dead, of, id, reason, bytes)
return 1
