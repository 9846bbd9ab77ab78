-- Reads hidden items, those of a page in their order in the set.
-- ARGV  the first, from 0; how many at most
-- Answers the version ('' without one), the ms until the next one's time is over ('' never), and the items.
local hidden, version = unpack(KEYS)
local first, most = unpack(ARGV)

local now = now_ms()
local following = redis.call('ZRANGEBYSCORE', hidden, '(' .. number(now), '(+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local left = following[2] and number(tonumber(following[2]) - now) or ''
local items = redis.call('ZRANGEBYSCORE', hidden, '(' .. number(now), '+inf', 'LIMIT', first, most)
return { text_at(version) or '', left, items }
