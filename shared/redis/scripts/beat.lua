-- A worker says that it is there, by the server's clock; those that have been silent for ten seconds are dropped.
-- KEYS  workers
-- ARGV  worker
local now = now_ms()
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', number(now - 10000))
redis.call('ZADD', KEYS[1], number(now), ARGV[1])
redis.call('PEXPIRE', KEYS[1], '10000')
return number(now)
