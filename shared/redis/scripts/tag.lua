-- Replaces the live tags of an item, if they are still `seen` ('' none); '' as the new ones takes them away.
-- Answers 1, or 0 when they have changed meanwhile.
local tagging, version = unpack(KEYS)
local item, seen, tags = unpack(ARGV)

expect(tagging, 'hash')
if (redis.call('HGET', tagging, item) or '') ~= seen then return 0 end
redis.call('HDEL', tagging, item) -- A removal comes first.
if tags ~= '' then
  redis.call('HSET', tagging, item, tags)
end
if type(redis.pcall('INCR', version)) ~= 'number' then
  -- A planted value is not a number. No version comes twice.
  redis.call('SET', version, number(now_ms()))
end
return 1
