-- One look at an unfinished run: puts back blocks whose flow is gone and a lost finish, renews what the run has.
-- KEYS  run, flight, blocks, live, run-of, record, the finish's job, click queue, batch queue; for each block to put
--       back: flow, job
-- ARGV  run id, ms to the next look, life ms, first look ms, id and body of the finish, prefix of flow keys, round that
--       was seen; for each block: its number, the flow that has gone ('' when none is known), new flow id, job id,
--       job body
-- Answers how many jobs it created, or -1 when the run has ended, which takes it from the live.
local run = redis.call('HMGET', KEYS[1], 'state', 'spec', 'next', 'blocks', 'round')
if run[1] ~= 'run' and run[1] ~= 'finish' then
  redis.call('ZREM', KEYS[4], 'run:' .. ARGV[1])
  return -1
end
if run[5] ~= ARGV[8] then
  return 0
end
local lanes = lanes_of(KEYS[8], KEYS[9])
local now, life, made = now_ms(), ARGV[3], 0
redis.call('ZREM', KEYS[4], 'run:' .. ARGV[1])
redis.call('ZADD', KEYS[4], number(now + tonumber(ARGV[2])), 'run:' .. ARGV[1])
for _, key in ipairs({ KEYS[1], KEYS[2], KEYS[3], KEYS[5] }) do
  redis.call('PEXPIRE', key, life)
end
renew_record(KEYS[6], life)
for i = 10, #KEYS, 2 do
  local at = 9 + 5 * (i - 10) / 2
  local block, gone = ARGV[at], ARGV[at + 1]
  local lost = gone == '' and not redis.call('HGET', KEYS[2], block)
    or gone ~= '' and redis.call('HGET', KEYS[2], block) == gone
      and not unfinished(redis.call('HGET', ARGV[7] .. gone, 'state'))
  if run[1] == 'run' and lost and redis.call('HEXISTS', KEYS[3], block) == 0 then
    create_flow({ flow = KEYS[i], live = KEYS[4], lanes = lanes, job = KEYS[i + 1] }, {
      id = ARGV[at + 2], kind = 'block', lane = 'batch', spec = run[2], join = '', run = ARGV[1], block = block,
      job_id = ARGV[at + 3], job_body = ARGV[at + 4], now = now, first_look = tonumber(ARGV[4]), life = life,
    })
    redis.call('HSET', KEYS[2], block, ARGV[at + 2])
    redis.call('PEXPIRE', KEYS[2], life)
    made = made + 1
  end
end
if run[1] == 'run' and redis.call('HLEN', KEYS[2]) == 0 and tonumber(run[3]) >= tonumber(run[4]) then
  redis.call('HSET', KEYS[1], 'state', 'finish')
  run[1] = 'finish'
end
if run[1] == 'finish' then
  if not (queued(lanes, ARGV[5]) and redis.call('EXISTS', KEYS[7]) == 1) then
    enqueue(lanes, 'batch', number(now), KEYS[7], ARGV[5], ARGV[6], life)
    made = made + 1
  else
    redis.call('PEXPIRE', KEYS[7], life)
  end
end
return made
