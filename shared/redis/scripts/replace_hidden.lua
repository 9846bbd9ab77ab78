-- Replaces all hidden items at once by those of another set, which is gone then.
-- Answers how many items are hidden now.
-- ARGV  nothing
local hidden, version, other = unpack(KEYS)

expect(version, 'string')
expect(other, 'zset')
redis.call('UNLINK', hidden) -- A removal comes first.
if redis.call('EXISTS', other) == 1 then
  redis.call('RENAME', other, hidden)
  redis.call('PERSIST', hidden)
end
if type(redis.pcall('INCR', version)) ~= 'number' then
  -- A planted value is not a number.
  redis.call('SET', version, number(now_ms()))
end
return redis.call('ZCARD', hidden)
