-- One look at an unfinished run: puts back blocks whose flow is gone and a lost finish, renews what the run has.
-- KEYS  run, flight, blocks, what the live sets' names start with, run-of, record, the finish's job, click queue, batch
--       queue; for each block to put back: flow, job
-- ARGV  run id, ms to the next look, life ms, first look ms, id and body of the finish, prefix of flow keys, round that
--       was seen; for each block: its number, the flow that has gone ('' when none is known), new flow id, job id,
--       job body
-- Answers how many jobs it created, or -1 when the run has ended, which takes it from the live.
local run = redis.call('HMGET', KEYS[1], 'state', 'spec', 'next', 'blocks', 'round')
local lanes, live = lanes_of(KEYS[8], KEYS[9]), live_of(KEYS[4])
if run[1] ~= 'run' and run[1] ~= 'finish' then
  leave_live(live, 'run:' .. ARGV[1])
  return -1
end
local following, blocks = tonumber(run[3]), tonumber(run[4])
-- One that cannot be read is ended at the next look.
if run[5] ~= ARGV[8] or not following or not blocks or not run[2] then
  return 0
end
expect(KEYS[2], 'hash')
expect(KEYS[3], 'hash')
local now, life, lost, made = now_ms(), ARGV[3], {}, 0
for i = 10, #KEYS, 2 do
  local at = 9 + 5 * (i - 10) / 2
  local block, gone = ARGV[at], ARGV[at + 1]
  local flow = redis.call('HGET', KEYS[2], block)
  local missing = gone == '' and not flow
    or gone ~= '' and flow == gone and not unfinished(state_at(ARGV[7] .. gone))
  if run[1] == 'run' and missing and redis.call('HEXISTS', KEYS[3], block) == 0 then
    lost[#lost + 1] = { key = i, at = at }
  end
end
leave_live(live, 'run:' .. ARGV[1])
redis.call('ZADD', live.batch, number(now + tonumber(ARGV[2])), 'run:' .. ARGV[1])
for _, key in ipairs({ KEYS[1], KEYS[2], KEYS[3], KEYS[5] }) do
  redis.call('PEXPIRE', key, life)
end
renew_record(KEYS[6], life)
for _, it in ipairs(lost) do
  create_flow({ flow = KEYS[it.key], live = live, lanes = lanes, job = KEYS[it.key + 1] }, {
    id = ARGV[it.at + 2], kind = 'block', lane = 'batch', spec = run[2], join = '', run = ARGV[1], block = ARGV[it.at],
    job_id = ARGV[it.at + 3], job_body = ARGV[it.at + 4], now = now, first_look = tonumber(ARGV[4]), life = life,
  })
  redis.call('HSET', KEYS[2], ARGV[it.at], ARGV[it.at + 2])
  redis.call('PEXPIRE', KEYS[2], life)
  made = made + 1
end
if run[1] == 'run' and redis.call('HLEN', KEYS[2]) == 0 and following >= blocks then
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
