-- Writes some fields of a hash of a snapshot beside the results: titles, tags or lists. They expire unless a pointer
-- names the snapshot already.
-- ARGV  for each field: its name, its value
local hash, fields = unpack(KEYS), ARGV

local named = redis.call('PTTL', hash) == -1
redis.call('HSET', hash, unpack(fields))
if not named then
  redis.call('PEXPIRE', hash, UNREFERENCED_TTL_MS)
end
return 1
