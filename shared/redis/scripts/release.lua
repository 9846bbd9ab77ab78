-- Gives back all jobs that were claimed under some tokens: the claims' answers have not arrived, so nobody runs them.
-- KEYS  the lanes' queues
-- ARGV  lease ms, tokens
-- Answers how many.
local count, latest, tokens = 0, number(now_ms() + tonumber(ARGV[1])), {}
for i = 2, #ARGV do
  tokens[ARGV[i]] = true
end
for _, queue in ipairs(KEYS) do
  expect(queue, 'zset')
  expect(queue .. ':leases', 'zset')
end
for _, queue in ipairs(KEYS) do
  local back = 0
  -- The latest leases are the last ones, but for pauses.
  for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', queue .. ':leases', latest, '-inf', 'LIMIT', 0, 5000)) do
    if tokens[text_at(RUNNING .. id)] then
      redis.call('ZREM', queue .. ':leases', id)
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
