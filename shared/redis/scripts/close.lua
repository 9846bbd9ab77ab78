-- run | finish -> ended: the one way in which a run ends.
-- KEYS  live_stem is the prefix of the live sets
-- ARGV  the run must be in from_state and from_round; '' for any but ended: the run is damaged
-- How its blocks ended is kept as long as the run if it was judged and has not passed: failed blocks may be retried.
-- A run that has computed every list says in `holding` what its generation holds now, else ''.
-- Answers 1, or 0 when it had ended before.
local run, flight, blocks, run_of, live_stem, held = unpack(KEYS)
local id, from_state, from_round, outcome, manifest, channel, generation, holding = unpack(ARGV)

local state, round = unpack(redis.call('HMGET', run, 'state', 'round'))
if state == 'ended' or redis.call('EXISTS', run) == 0 then return 0 end
local damaged = from_state == ''
if not damaged and (state ~= from_state or round ~= from_round) then return 0 end
local owns, live = text_at(run_of) == id, live_of(live_stem)
leave(live, 'run:' .. id) -- A removal comes first.
redis.call('DEL', flight)
if outcome == 'passed' or damaged then
  -- Not freed within the script: 200,000 blocks would block the server for 50 ms.
  redis.call('UNLINK', blocks)
else
  redis.call('PEXPIRE', blocks, ENDED_TTL_MS)
end
if owns then
  redis.call('DEL', run_of)
end
if holding ~= '' and type(redis.pcall('HSET', held, generation, holding)) ~= 'number' then
  -- A key of another type was planted.
  redis.call('DEL', held)
  redis.call('HSET', held, generation, holding)
end
redis.call('HSET', run, 'state', 'ended', 'outcome', outcome, 'manifest', manifest, 'ended', number(now_ms()))
if damaged then
  -- Waiting clients must be able to read that it failed.
  redis.call('HSET', run, 'generation', generation, 'since', '', 'round', '0', 'blocks', '0', 'block_size', '0',
    'users', '0', 'next', '0', 'started', '0')
end
redis.call('PEXPIRE', run, ENDED_TTL_MS)
redis.call('PUBLISH', channel, outcome)
return 1
