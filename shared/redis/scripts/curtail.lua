-- run -> run: a run begins no more blocks. The next block is noted as cancelled, in the place of all that follow.
-- Answers 1, or 0 when all its blocks have begun.
local run, outcomes = unpack(KEYS)
local outcome = unpack(ARGV)

expect(outcomes, 'hash')
local state, following, blocks = unpack(redis.call('HMGET', run, 'state', 'next', 'blocks'))
if state ~= 'run' or tonumber(following) >= tonumber(blocks) then return 0 end
delete_first(run)
redis.call('HSET', outcomes, following, outcome)
redis.call('PEXPIRE', outcomes, UNFINISHED_TTL_MS)
local begun = number(tonumber(following) + 1)
redis.call('HSET', run, 'next', begun, 'blocks', begun)
return 1
