-- Pauses a lane: nothing is claimed from its queue any more, and running jobs end as ever.
-- KEYS  the lane's mark
-- Answers since when in ms, which is before now for a lane that was paused already.
local paused = unpack(KEYS)

local since = text_at(paused)
if not since or not (#since < 16 and string.match(since, '^%d+$')) then
  since = number(now_ms())
end
redis.call('DEL', paused) -- A removal comes first.
redis.call('SET', paused, since)
return since
