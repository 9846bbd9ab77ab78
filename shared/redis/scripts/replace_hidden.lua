-- Replaces all that people hide at once by the items of another set, which is gone then; see `hide.lua`.
-- Answers how many items people hide now.
-- ARGV  nothing
local hidden, version, changes, by_hand, unavailable, other = unpack(KEYS)

expect(version, 'string')
expect(other, 'zset')
expect(unavailable, 'zset')
redis.call('UNLINK', hidden, changes, by_hand) -- A removal comes first.
local is_split, answer = redis.call('EXISTS', unavailable) == 1, redis.call('ZCARD', other)
if answer > 0 then
  redis.call('PERSIST', other)
  redis.call('RENAME', other, is_split and by_hand or hidden)
end
if is_split then
  redis.call('ZUNIONSTORE', hidden, 2, by_hand, unavailable, 'AGGREGATE', 'MAX')
end
note_hidden(version, changes, { '' }, { '' })
return answer
