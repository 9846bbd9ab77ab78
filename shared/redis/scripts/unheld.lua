-- Mends a slice of a queue: claimed or paused jobs without a lease, and leases with an impossible end, end now, so that
-- the next claim gives them back. Jobs with an impossible due time are due now.
-- ARGV  how many of the claimed jobs were looked at before
-- Answers how many it mended, and how many have been looked at then, '' with all.
local queue = unpack(KEYS)
local offset = unpack(ARGV)

local leases, now = queue .. LEASES, now_ms()
-- Bodies live for seven days at most.
local MOST, FAR = 2 * SLICE, UNFINISHED_TTL_MS + 86400000
local unheld = redis.call('ZRANGEBYSCORE', leases, number(now + FAR), '+inf', 'LIMIT', 0, MOST)
local claimed = redis.call('ZRANGEBYSCORE', queue, number(CLAIMED), '+inf', 'LIMIT', offset, MOST)
if #claimed > 0 then
  for i, deadline in ipairs(redis.call('ZMSCORE', leases, unpack(claimed))) do
    if not deadline then
      unheld[#unheld + 1] = claimed[i]
    end
  end
end
local far = redis.call('ZRANGEBYSCORE', queue, number(now + FAR), '(' .. number(CLAIMED), 'LIMIT', 0, MOST)
delete_first(queue)
for _, id in ipairs(unheld) do
  redis.call('ZADD', leases, number(now), id)
end
for _, id in ipairs(far) do
  redis.call('ZADD', queue, 'XX', number(now), id)
end
return { #unheld + #far, #claimed == MOST and number(offset + MOST) or '' }
