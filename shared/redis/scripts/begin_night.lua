-- (nothing) -> running: begins the night of a date, or joins the one under way.
-- ARGV  dry: '1' for a night that makes nothing live: it is none of its date; state_stem: the prefix of the states;
--       options, starter: what the night keeps
-- A night that did not go live is no reason to refuse one by a command, nor, if a command began it, one by the settings.
-- Answers the id of the night and 'started', 'joined', or 'known' for a date that had its night.
local now, of_date, state = unpack(KEYS)
local id, date, dry, state_stem, starter, options = unpack(ARGV)

local running = text_at(now)
if running and state_at(state_stem .. running) == 'running' then
  return { running, 'joined' }
end
local known = text_at(of_date)
if known and dry ~= '1' then
  local found = redis.pcall('HMGET', state_stem .. known, 'outcome', 'starter')
  local outcome, began = found[1], found[2]
  local good = outcome == 'live' or outcome == 'unchanged' and starter ~= 'command'
  -- Without a starter its state is lost.
  if good or starter ~= 'command' and began and began ~= 'command' then return { known, 'known' } end
end
-- A full server refuses the first write, and so all.
redis.call('SET', now, id, 'PX', NIGHT_TTL_MS)
if dry ~= '1' then
  redis.call('SET', of_date, id, 'PX', NIGHT_TTL_MS)
end
-- Its id is fresh: a value at its key was planted.
redis.call('DEL', state)
redis.call('HSET', state, 'state', 'running', 'date', date, 'starter', starter, 'options', options,
  'started', number(now_ms()), 'failures', '0', 'due', '0')
redis.call('PEXPIRE', state, NIGHT_TTL_MS)
return { id, 'started' }
