-- Goes behind a change that a job makes: it is made under the claim of the job's worker, or not at all.
-- KEYS  the job's queue; then those of the change
-- ARGV  of the claim: job id, fencing token, '1' when the change ends the job, '1' when its worker claims next; then
--       those of the change
-- Answers what the change answers, or false when the token is no longer that of the job.
local queue, id, token, ends_job, claims = KEYS[1], unpack(ARGV, 1, 4)
local change_keys, change_arguments = { unpack(KEYS, 2) }, { unpack(ARGV, 5) }

if text_at(RUNNING .. id) ~= token then return false end
expect_queue(queue)
claims_next = claims == '1'
local answer = change(change_keys, change_arguments)
if ends_job == '1' then
  finish_jobs(queue, { id })
end
return answer
