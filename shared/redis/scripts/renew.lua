-- Renews the leases of a worker's jobs in one queue.
-- KEYS  queue
-- ARGV  lease ms; for each job: id, token of its claim
-- Answers which of them are no longer under that claim, from 1.
local deadline, leases, lost, held = number(now_ms() + tonumber(ARGV[1])), KEYS[1] .. ':leases', {}, {}
for i = 2, #ARGV, 2 do
  if text_at(RUNNING .. ARGV[i]) == ARGV[i + 1] and redis.call('ZSCORE', leases, ARGV[i]) then
    held[#held + 1] = ARGV[i]
  else
    lost[#lost + 1] = i / 2
  end
end
removal_first(KEYS[1])
for _, id in ipairs(held) do
  redis.call('ZADD', leases, 'XX', deadline, id)
  redis.call('EXPIRE', RUNNING .. id, TRIES_LIFE)
end
return lost
