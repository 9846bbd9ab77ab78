-- A worker says that it is there and what it does, by the server's clock; those that have been silent for too long
-- are dropped.
-- KEYS  workers, beat
-- ARGV  worker, what it says of itself, how long it may be silent ms
local now = now_ms()
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', number(now - tonumber(ARGV[3])))
redis.call('ZADD', KEYS[1], number(now), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return number(now)
