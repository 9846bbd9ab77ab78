-- Reads what is known of users beside a snapshot: those from first to last, in the order of their bytes.
-- ARGV  prefixes of the keys of recent histories and hides; first, last: as of ZRANGEBYLEX; most: how many at most
-- Answers for each user: name, version, the entries of the recent history, the hidden items.
local recents, versions = unpack(KEYS)
local recent_stem, hides_stem, first, last, most = unpack(ARGV)

local answer = {}
for i, user in ipairs(redis.call('ZRANGEBYLEX', recents, first, last, 'LIMIT', 0, most)) do
  -- Keys of other types were planted, and count as empty.
  local entries, hides = redis.pcall('LRANGE', recent_stem .. user, 0, -1), redis.pcall('SMEMBERS', hides_stem .. user)
  answer[i] = { user, redis.call('HGET', versions, user) or '', entries.err and {} or entries, hides.err and {} or hides }
end
return answer
