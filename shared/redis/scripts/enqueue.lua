-- Puts arq jobs into a queue, but for those whose name is taken by one that waits, runs or has a result.
-- KEYS  queue
-- ARGV  for each job: id, body, when it is due in ms ('' now), how long it may be in Redis ms
-- Answers for each 1, or 0 when its name was taken.
expect(KEYS[1], 'zset')
local now, answers, made = number(now_ms()), {}, 0
for i = 1, #ARGV, 4 do
  local id = ARGV[i]
  if redis.call('EXISTS', JOB .. id, RUNNING .. id, RESULT .. id) > 0 then
    answers[#answers + 1] = 0
  else
    redis.call('SET', JOB .. id, ARGV[i + 1], 'PX', ARGV[i + 3])
    redis.call('ZADD', KEYS[1], ARGV[i + 2] ~= '' and ARGV[i + 2] or now, id)
    answers[#answers + 1] = 1
    made = made + 1
  end
end
if made > 0 then
  wake(KEYS[1], made)
end
return answers
