-- Appended to a change that a job makes. The change is made only under the claim of the job's worker.
-- KEYS  the job's queue; the key of a value to cache, the queue again for none; then the keys of the change
-- ARGV  of the claim: job id, fencing token, '1' when the change ends the job, '1' when its worker claims next; the
--       value to cache, its life in seconds ('' for none, '0' deletes what is cached); then the arguments of the change
-- The value is cached if the change answers 1, and after it, since changes check everything before their first write.
-- Answers the change's answer, or false when the job has another token.
local queue, cached = unpack(KEYS, 1, 2)
local id, token, ends_job, claims, value, life = unpack(ARGV, 1, 6)
local change_keys, change_arguments = { unpack(KEYS, 3) }, { unpack(ARGV, 7) }

if text_at(RUNNING .. id) ~= token then return false end
expect_queue(queue)
claims_next = claims == '1'
local answer = change(change_keys, change_arguments)
if answer == 1 and life == '0' then
  redis.call('UNLINK', cached)
elseif answer == 1 and life ~= '' then
  redis.call('SET', cached, value, 'EX', life)
end
if ends_job == '1' then
  finish_jobs(queue, { id })
end
return answer
