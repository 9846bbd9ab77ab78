-- run -> run: a run begins no more blocks. The next one is noted as cancelled, in the place of all that have not begun.
-- KEYS  run, blocks
-- ARGV  outcome of that block, life ms
-- Answers 1, or 0 when all its blocks have begun.
expect(KEYS[2], 'hash')
local run = redis.call('HMGET', KEYS[1], 'state', 'next', 'blocks')
if run[1] ~= 'run' or tonumber(run[2]) >= tonumber(run[3]) then
  return 0
end
removal_first(KEYS[1])
redis.call('HSET', KEYS[2], run[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
local begun = number(tonumber(run[2]) + 1)
redis.call('HSET', KEYS[1], 'next', begun, 'blocks', begun)
return 1
