-- Takes what nobody holds from a queue: jobs that are claimed without a lease, and leases that end later than any does.
-- Their leases end now, and the next claim does what is to be done then.
-- KEYS  queue
-- Answers how many there were.
local queue, leases, now = KEYS[1], KEYS[1] .. ':leases', now_ms()
local MOST, DAY = 1000, 86400000
local unheld = redis.call('ZRANGEBYSCORE', leases, number(now + DAY), '+inf', 'LIMIT', 0, MOST)
if redis.call('ZCOUNT', queue, number(CLAIMED), '+inf') > redis.call('ZCARD', leases) - #unheld then
  local claimed = redis.call('ZRANGEBYSCORE', queue, number(CLAIMED), '+inf', 'LIMIT', 0, MOST)
  for i, deadline in ipairs(redis.call('ZMSCORE', leases, unpack(claimed))) do
    if not deadline then
      unheld[#unheld + 1] = claimed[i]
    end
  end
end
-- A removal, of nothing, comes first: a full Redis lets go on what has begun.
redis.call('ZREM', leases, '')
for _, id in ipairs(unheld) do
  redis.call('ZADD', leases, number(now), id)
end
return #unheld
