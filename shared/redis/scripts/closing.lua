-- Goes behind a change that a job makes: it is made under the claim of the job's worker, or not at all.
-- KEYS  the job's queue; then those of the change
-- ARGV  job id, token of its claim, '1' when the change ends the job, '1' when its worker claims next; then those of
--       the change
-- Answers what the change answers, or false when somebody else has claimed the job meanwhile: the token is the fencing
-- token of a lease, and whoever stood still past its lease changes nothing.
local queue, id, token = KEYS[1], ARGV[1], ARGV[2]
if text_at(RUNNING .. id) ~= token then
  return false
end
expect(queue, 'zset')
expect(queue .. ':leases', 'zset')
claims_next = ARGV[4] == '1'
local answer = change({ unpack(KEYS, 2) }, { unpack(ARGV, 5) })
if ARGV[3] == '1' then
  finish_jobs(queue, { id })
end
return answer
