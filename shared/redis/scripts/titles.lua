-- Writes some titles of a snapshot beside the results. They expire, unless a pointer names them: this may come late.
-- KEYS  titles
-- ARGV  life ms; for each title: item, title
local named = redis.call('PTTL', KEYS[1]) == -1
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
if not named then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return 1
