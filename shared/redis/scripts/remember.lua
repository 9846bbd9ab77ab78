-- Adds or replaces an entry of the history, and drops the oldest of its order beyond `most`.
local entries, order = unpack(KEYS)
local id, at, data, most = unpack(ARGV)

expect(entries, 'hash')
expect(order, 'zset')
-- Many more may have been planted: later calls drop those.
local excess = math.max(0, math.min(redis.call('ZCARD', order) - most, SLICE))
local old = redis.call('ZRANGEBYSCORE', order, '-inf', '+inf', 'LIMIT', 0, excess)
-- A removal comes first.
redis.call('HDEL', entries, id, unpack(old))
if #old > 0 then
  redis.call('ZREM', order, unpack(old))
end
redis.call('HSET', entries, id, data)
redis.call('ZADD', order, at, id)
return 1
