-- Pauses a lane: workers claim nothing more from its queue. Running jobs continue.
-- KEYS  the lane's mark
-- Answers when the lane was paused, in ms: earlier than now if it was paused before.
local paused = unpack(KEYS)

local since = text_at(paused)
if not since or not (#since < 16 and string.match(since, '^%d+$')) then
  since = number(now_ms())
end
redis.call('DEL', paused) -- A removal comes first.
redis.call('SET', paused, since)
return since
