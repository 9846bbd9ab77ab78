-- Pauses a lane: nothing is claimed from its queue any more, and what runs comes to its end.
-- KEYS  paused
-- Answers since when in ms, which is before now where it was paused already.
local since = text_at(KEYS[1])
if not since or not (#since < 16 and string.match(since, '^%d+$')) then
  since = number(now_ms())
end
-- The removal first, so that a full Redis lets it pass.
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], since)
return since
