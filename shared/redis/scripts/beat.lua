-- A worker says that it is there and what it does, by the server's clock; those that have been silent for ten seconds are
-- dropped.
-- KEYS  workers, beat
-- ARGV  worker, what it says of itself
local now = now_ms()
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', number(now - 10000))
redis.call('ZADD', KEYS[1], number(now), ARGV[1])
redis.call('PEXPIRE', KEYS[1], '10000')
redis.call('SET', KEYS[2], ARGV[2], 'PX', '10000')
return number(now)
