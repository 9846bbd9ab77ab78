-- Mends a slice of a queue. Claimed or paused jobs without a lease, and those whose lease has an impossible end, get a
-- lease that ends now, so that the next claim gives them back. Jobs with an impossible due time are due now.
-- ARGV  offset: the number of claimed jobs that earlier slices checked
-- Answers the number of mended jobs, and the next offset ('' after the last slice).
local queue = unpack(KEYS)
local offset = unpack(ARGV)

local leases, now = queue .. LEASES, now_ms()
-- Bodies live for seven days at most.
local MOST, FAR = 2 * SLICE, UNFINISHED_TTL_MS + DAY_MS
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
