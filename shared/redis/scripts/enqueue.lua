-- Puts arq jobs into a queue, except those whose id is taken: that job waits, runs or has a result.
-- ARGV  for each job: id, body, due ms ('' now), life ms
-- Answers for each 1, or 0 when its id was taken.
local queue = unpack(KEYS)
local count, job_of = tail(ARGV, 0, 4)

expect(queue, 'zset')
local now, answers, made = number(now_ms()), {}, 0
for i = 1, count do
  local id, body, due, life = job_of(i)
  answers[i] = 0
  if redis.call('EXISTS', JOB .. id, RUNNING .. id, RESULT .. id) == 0 then
    redis.call('SET', JOB .. id, body, 'PX', life)
    redis.call('ZADD', queue, due ~= '' and due or now, id)
    answers[i] = 1
    made = made + 1
  end
end
if made > 0 then
  wake(queue, made)
end
return answers
