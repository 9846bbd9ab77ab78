-- Resumes a paused lane, and wakes workers for its waiting jobs.
-- KEYS  the queue and the lane's mark
-- Answers when it was paused, in ms ('' unknown); false when it was not paused.
local queue, paused = unpack(KEYS)

expect(queue, 'zset')
local since = text_at(paused)
-- A removal comes first.
if redis.call('DEL', paused) == 0 then return false end
-- At least one worker: it learns when the next job is due.
wake(queue, math.max(redis.call('ZCOUNT', queue, '-inf', number(now_ms())), 1))
return since or ''
