-- Replaces all hidden items at once by those of another set, which is gone then.
-- Answers how many items are hidden now.
-- ARGV  nothing
local hidden, version, changes, other = unpack(KEYS)

expect(version, 'string')
expect(other, 'zset')
redis.call('UNLINK', hidden, changes) -- A removal comes first.
if redis.call('EXISTS', other) == 1 then
  redis.call('RENAME', other, hidden)
  redis.call('PERSIST', hidden)
end
note_hidden(version, changes, { '' }, '')
return redis.call('ZCARD', hidden)
