-- Writes some titles of a snapshot beside the results. They expire unless a pointer names the snapshot already.
-- ARGV  for each title: item, title
local titles, pairs_of_titles = unpack(KEYS), ARGV

local named = redis.call('PTTL', titles) == -1
redis.call('HSET', titles, unpack(pairs_of_titles))
if not named then
  redis.call('PEXPIRE', titles, UNREFERENCED_TTL_MS)
end
return 1
