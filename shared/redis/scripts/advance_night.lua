-- running -> running | ended: a change of the night under way by the worker that drives it.
-- ARGV  token of the driver; the night; '1' when it ends; then fields and values
-- Answers 1, or 0 when another worker drives it or it has ended.
local driver, now, state, events = unpack(KEYS)
local token, id, ends = unpack(ARGV, 1, 3)
local fields = { unpack(ARGV, 4) }

if text_at(driver) ~= token or state_at(state) ~= 'running' then return 0 end
delete_first(state)
redis.call('HSET', state, unpack(fields))
redis.call('PEXPIRE', state, NIGHT_TTL_MS)
if ends == '1' then
  redis.call('HSET', state, 'state', 'ended', 'ended', number(now_ms()))
  if text_at(now) == id then
    redis.call('DEL', now)
  end
end
redis.call('PUBLISH', events, id)
return 1
