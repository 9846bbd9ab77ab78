-- Takes one start of a job back: a delivery that ended for no fault of the job's is not a try.
-- KEYS  arq's tries of the job
-- The removal first, so that a full Redis lets it pass.
local tries = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
redis.call('DEL', KEYS[1])
if tries > 1 then
  redis.call('SET', KEYS[1], number(tries - 1), 'EX', '88400')
end
return tries
