-- Lets an import take the events up to the last one: these no longer move to another user.
-- ARGV  nothing
-- Answers the id of that event.
local stream, taken = unpack(KEYS)

expect(stream, 'stream')
local last = last_id(stream)
redis.call('SET', taken, last)
return last
