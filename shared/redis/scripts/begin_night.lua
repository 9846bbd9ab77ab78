-- (nothing) -> running: begins the night of a date, or joins the one under way.
-- ARGV  again: '1' if an ended night of the date does not count, unless it went live; state_stem: the prefix of the
--       states; options, starter: what the night keeps
-- Answers the id of the night and 'started', 'joined', or 'known' for a date that had its night.
local now, of_date, state = unpack(KEYS)
local id, date, again, state_stem, starter, options = unpack(ARGV)

local running = text_at(now)
if running and state_at(state_stem .. running) == 'running' then
  return { running, 'joined' }
end
local known = text_at(of_date)
if known then
  local outcome = redis.pcall('HGET', state_stem .. known, 'outcome')
  if again ~= '1' or outcome == 'live' then return { known, 'known' } end
end
-- A full server refuses the first write, and so all.
redis.call('SET', of_date, id, 'PX', NIGHT_TTL_MS)
-- Its id is fresh: a value at its key was planted.
redis.call('DEL', state)
redis.call('HSET', state, 'state', 'running', 'date', date, 'starter', starter, 'options', options,
  'started', number(now_ms()), 'failures', '0', 'due', '0')
redis.call('PEXPIRE', state, NIGHT_TTL_MS)
redis.call('SET', now, id, 'PX', NIGHT_TTL_MS)
return { id, 'started' }
