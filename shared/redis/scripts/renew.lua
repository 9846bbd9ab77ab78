-- Renews the leases of a worker's jobs in one queue.
-- ARGV  lease ms; for each job: id, fencing token
-- Answers the numbers, from 1, of the jobs that have lost their claim.
local queue = unpack(KEYS)
local lease = unpack(ARGV, 1, 1)
local count, job_of = tail(ARGV, 1, 2)

local deadline, leases, lost, held = number(now_ms() + lease), queue .. LEASES, {}, {}
for i = 1, count do
  local id, token = job_of(i)
  if text_at(RUNNING .. id) == token and redis.call('ZSCORE', leases, id) then
    held[#held + 1] = id
  else
    lost[#lost + 1] = i
  end
end
delete_first(queue)
for _, id in ipairs(held) do
  redis.call('ZADD', leases, 'XX', deadline, id)
  redis.call('EXPIRE', RUNNING .. id, TRIES_TTL_S)
end
return lost
