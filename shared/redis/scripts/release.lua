-- Gives back all jobs that were claimed under some tokens. The answers to these claims were lost, so no worker runs the
-- jobs.
-- KEYS  the lanes' queues
-- ARGV  lease ms; then the tokens
-- Answers their number.
local queues = KEYS
local lease = unpack(ARGV, 1, 1)
local tokens = {}
for _, token in ipairs({ unpack(ARGV, 2) }) do
  tokens[token] = true
end

local count, latest = 0, number(now_ms() + lease)
for _, queue in ipairs(queues) do
  expect_queue(queue)
end
for _, queue in ipairs(queues) do
  local leases, back = queue .. LEASES, 0
  -- The latest leases are the last ones, except for pauses.
  for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', leases, latest, '-inf', 'LIMIT', 0, 5000)) do
    if tokens[text_at(RUNNING .. id)] then
      redis.call('ZREM', leases, id) -- A removal comes first.
      redis.call('DEL', RUNNING .. id)
      redis.call('ZADD', queue, 'XX', number(place_of(redis.call('ZSCORE', queue, id))), id)
      back = back + 1
    end
  end
  if back > 0 then
    wake(queue, back)
  end
  count = count + back
end
return count
