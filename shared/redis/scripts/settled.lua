-- Notes that jobs were made for the lists of stale users, unless they have become stale again since they were read.
-- ARGV  for each user: name, score
local stale = unpack(KEYS)
local count, fields_of = tail(ARGV, 0, 2)

expect(stale, 'zset')
for i = 1, count do
  local user, score = fields_of(i)
  if tonumber(redis.call('ZSCORE', stale, user)) == tonumber(score) then
    redis.call('ZREM', stale, user)
  end
end
return count
