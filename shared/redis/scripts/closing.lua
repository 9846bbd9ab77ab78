-- Goes behind a change of a flow that is the last thing which a job does: the job is finished in the same script.
-- KEYS  the job's queue; then those of the change
-- ARGV  job id, token of its claim, '1' when its worker claims next; then those of the change
-- Answers what the change answers. A job that somebody else has claimed meanwhile is left to them.
local queue, id, token = KEYS[1], ARGV[1], ARGV[2]
claims_next = ARGV[3] == '1'
local answer = change({ unpack(KEYS, 2) }, { unpack(ARGV, 4) })
if text_at(RUNNING .. id) == token then
  finish_jobs(queue, { id })
end
return answer
