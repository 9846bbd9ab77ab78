-- Gives back all jobs that were claimed under some tokens and that no worker runs: the answers to these claims were lost,
-- or the worker has died.
-- KEYS  the lanes' queues
-- ARGV  lease ms; '1' when a try of each job is counted; then the tokens, or the name with which a worker's tokens begin
-- Answers their number.
local queues = KEYS
local lease, counts = unpack(ARGV, 1, 2)
local beginnings = { unpack(ARGV, 3) }

local function is_one_of_them(token)
  for _, beginning in ipairs(beginnings) do
    if token and string.sub(token, 1, #beginning) == beginning then return true end
  end
  return false
end

local count, latest = 0, number(now_ms() + lease)
for _, queue in ipairs(queues) do
  expect_queue(queue)
end
for _, queue in ipairs(queues) do
  local leases, back = queue .. LEASES, 0
  -- The latest leases are the last ones, except for pauses.
  for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', leases, latest, '-inf', 'LIMIT', 0, 5000)) do
    if is_one_of_them(text_at(RUNNING .. id)) then
      redis.call('ZREM', leases, id) -- A removal comes first.
      redis.call('DEL', RUNNING .. id)
      redis.call('ZADD', queue, 'XX', number(place_of(redis.call('ZSCORE', queue, id))), id)
      if counts == '1' then
        count_try(id)
      end
      back = back + 1
    end
  end
  if back > 0 then
    wake(queue, back)
  end
  count = count + back
end
return count
