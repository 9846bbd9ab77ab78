-- Adds or replaces an entry of the history, and drops the oldest beyond `most`.
local entries, order = unpack(KEYS)
local id, at, data, most = unpack(ARGV)

expect(entries, 'hash')
expect(order, 'zset')
local old = redis.call('ZRANGE', order, 0, -1 - tonumber(most))
-- A removal comes first.
redis.call('HDEL', entries, id, unpack(old))
if #old > 0 then
  redis.call('ZREM', order, unpack(old))
end
redis.call('HSET', entries, id, data)
redis.call('ZADD', order, at, id)
return 1
