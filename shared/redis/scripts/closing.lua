-- Appended to a change that a job makes. The change is made only under the claim of the job's worker.
-- KEYS  the job's queue; then the keys of the change
-- ARGV  of the claim: job id, fencing token, '1' when the change ends the job, '1' when its worker claims next; then
--       the arguments of the change
-- Answers the change's answer, or false when the job has another token.
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
