-- Takes what nobody holds from a slice of a queue: jobs that are claimed or pause without a lease, and leases that end
-- later than any does. Their leases end now, and the next claim does what is to be done then. Jobs that are due later
-- than any is are due now.
-- KEYS  queue
-- ARGV  how many of the claimed jobs were looked at before
-- Answers how many there were, and how many have been looked at then, '' with all.
local queue, leases, now = KEYS[1], KEYS[1] .. ':leases', now_ms()
-- No body lives for more than seven days.
local MOST, FAR = 1000, 8 * 86400000
local unheld = redis.call('ZRANGEBYSCORE', leases, number(now + FAR), '+inf', 'LIMIT', 0, MOST)
local claimed = redis.call('ZRANGEBYSCORE', queue, number(CLAIMED), '+inf', 'LIMIT', ARGV[1], MOST)
if #claimed > 0 then
  for i, deadline in ipairs(redis.call('ZMSCORE', leases, unpack(claimed))) do
    if not deadline then
      unheld[#unheld + 1] = claimed[i]
    end
  end
end
local far = redis.call('ZRANGEBYSCORE', queue, number(now + FAR), '(' .. number(CLAIMED), 'LIMIT', 0, MOST)
removal_first(queue)
for _, id in ipairs(unheld) do
  redis.call('ZADD', leases, number(now), id)
end
for _, id in ipairs(far) do
  redis.call('ZADD', queue, 'XX', number(now), id)
end
return { #unheld + #far, #claimed == MOST and number(tonumber(ARGV[1]) + MOST) or '' }
