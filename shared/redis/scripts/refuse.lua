-- Sets bytes aside that are not what they should be: counted once, up to 4 KiB of them kept with the dead letters.
-- KEYS  refused, dead, where the bytes are
-- ARGV  kind of bytes, id, reason, how they are held: 'string', 'field' or 'member'; the bytes; for a field its name
-- Answers 1, or 0 when the bytes are there no more: each is counted once, however many saw it.
local how, bytes = ARGV[4], ARGV[5]
expect(KEYS[1], 'hash')
expect(KEYS[2], 'stream')
if how == 'string' then
  if redis.call('GET', KEYS[3]) ~= bytes then
    return 0
  end
  redis.call('DEL', KEYS[3])
elseif how == 'field' then
  if redis.call('HGET', KEYS[3], ARGV[6]) ~= bytes then
    return 0
  end
  redis.call('HDEL', KEYS[3], ARGV[6])
elseif redis.call('ZREM', KEYS[3], bytes) == 0 then
  return 0
end
count_refused(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], bytes)
return 1
