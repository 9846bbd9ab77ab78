-- A worker's heartbeat, by the server's clock. Silent workers are dropped, and beats of the future set aside: they
-- would stay for ever.
-- KEYS  workers: the set of beats; beat: this worker's own
-- ARGV  its id, what it says of itself, how long it may be silent, in ms
local workers, beat, refused, dead = unpack(KEYS)
local worker, text, silence = unpack(ARGV)

local now = now_ms()
local planted = redis.call('ZRANGEBYSCORE', workers, '(' .. number(now + tonumber(silence)), '+inf', 'LIMIT', 0, 100)
if #planted > 0 then
  expect(refused, 'hash')
  expect(dead, 'stream')
end
redis.call('ZREMRANGEBYSCORE', workers, '-inf', number(now - tonumber(silence)))
for _, member in ipairs(planted) do
  redis.call('ZREM', workers, member)
  count_refused(refused, dead, 'member', '', 'a worker whose beat is of the future', member)
end
redis.call('ZADD', workers, number(now), worker)
redis.call('PEXPIRE', workers, silence)
redis.call('SET', beat, text, 'PX', silence)
return number(now)
