-- A worker's heartbeat, by the server's clock. Silent workers are dropped. Beats in the future would stay for ever, so
-- they are set aside.
-- KEYS  workers: the set of beats; beat: this worker's own
-- ARGV  the worker's id, its encoded heartbeat, its timeout in ms
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
  count_refused(refused, dead, 'member', '', 'a worker with a heartbeat in the future', member)
end
redis.call('ZADD', workers, number(now), worker)
redis.call('PEXPIRE', workers, silence)
redis.call('SET', beat, text, 'PX', silence)
return number(now)
