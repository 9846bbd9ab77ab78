-- Lets jobs of a paused lane be claimed again, and wakes workers for those that wait.
-- KEYS  queue, paused
-- Answers since when it was paused in ms, '' when that is not known; false when it was not.
expect(KEYS[1], 'zset')
local since = text_at(KEYS[2])
if redis.call('DEL', KEYS[2]) == 0 then
  return false
end
-- One at least: whoever comes learns when the next is due.
wake(KEYS[1], math.max(redis.call('ZCOUNT', KEYS[1], '-inf', number(now_ms())), 1))
return since or ''
