-- A worker says that it is there and what it does, by the server's clock; those that have been silent for too long
-- are dropped, and those whose beats are of the future set aside: they would be there for ever.
-- KEYS  workers, beat, refused, dead
-- ARGV  worker, what it says of itself, how long it may be silent ms
local now, silence = now_ms(), tonumber(ARGV[3])
local planted = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. number(now + silence), '+inf', 'LIMIT', 0, 100)
if #planted > 0 then
  expect(KEYS[3], 'hash')
  expect(KEYS[4], 'stream')
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', number(now - silence))
for _, member in ipairs(planted) do
  redis.call('ZREM', KEYS[1], member)
  count_refused(KEYS[3], KEYS[4], 'member', '', 'a worker whose beat is of the future', member)
end
redis.call('ZADD', KEYS[1], number(now), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return number(now)
