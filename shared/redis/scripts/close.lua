-- run | finish -> ended: the one way a run ends.
-- KEYS  run, flight, blocks, run-of, live
-- ARGV  run id, state it must be in ('' any but ended), outcome, manifest, life of an ended run ms, channel
-- Answers 1, or 0 when it had ended before.
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'ended' or (ARGV[2] ~= '' and state ~= ARGV[2]) or redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local owns = text_at(KEYS[4]) == ARGV[1]
redis.call('ZREM', KEYS[5], 'run:' .. ARGV[1])
redis.call('DEL', KEYS[2], KEYS[3])
if owns then
  redis.call('DEL', KEYS[4])
end
redis.call('HSET', KEYS[1], 'state', 'ended', 'outcome', ARGV[3], 'manifest', ARGV[4], 'ended', number(now_ms()))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PUBLISH', ARGV[6], ARGV[3])
return 1
