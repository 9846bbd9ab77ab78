-- run | finish -> ended: the one way a run ends.
-- KEYS  run, flight, blocks, run-of, what the live sets' names start with
-- ARGV  run id, state and round it must be in ('' any but ended), outcome, manifest, life of an ended run ms, channel,
--       generation
-- How its blocks ended is kept for as long as the run when it was judged and has not passed: one that failed may be
-- done again. Answers 1, or 0 when it had ended before.
local run = redis.call('HMGET', KEYS[1], 'state', 'round')
if run[1] == 'ended' or redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
if ARGV[2] ~= '' and (run[1] ~= ARGV[2] or run[2] ~= ARGV[3]) then
  return 0
end
local owns, live = text_at(KEYS[4]) == ARGV[1], live_of(KEYS[5])
leave_live(live, 'run:' .. ARGV[1])
redis.call('DEL', KEYS[2])
if ARGV[4] == 'passed' or ARGV[2] == '' then
  -- Not freed within the script, which a run of 200,000 blocks would hold up for 50 ms.
  redis.call('UNLINK', KEYS[3])
else
  redis.call('PEXPIRE', KEYS[3], ARGV[6])
end
if owns then
  redis.call('DEL', KEYS[4])
end
redis.call('HSET', KEYS[1], 'state', 'ended', 'outcome', ARGV[4], 'manifest', ARGV[5], 'ended', number(now_ms()))
if ARGV[2] == '' then
  -- One that cannot be read: whoever waits has to be able to read that it failed.
  redis.call('HSET', KEYS[1], 'generation', ARGV[8], 'since', '', 'round', '0', 'blocks', '0', 'block_size', '0',
    'users', '0', 'next', '0', 'started', '0')
end
-- How a night has ended is known for as long as the night itself: eight days.
redis.call('PEXPIRE', KEYS[1], redis.call('HEXISTS', KEYS[1], 'night') == 1 and '691200000' or ARGV[6])
redis.call('PUBLISH', ARGV[7], ARGV[4])
return 1
