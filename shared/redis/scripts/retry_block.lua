-- (dead letter) -> split: a block that failed is done again; its run run -> run, or ended -> run in the next round.
-- KEYS  dead, what the live sets' names start with, flow, job, run, flight, blocks, run-of, record, click queue, batch
--       queue
-- ARGV  dead letter, flow id, run id, block, its outcome that was seen, spec, job id, job body, life ms, first look ms,
--       prefix of run keys
-- The block leaves those that have ended for those in flight; when they have all ended the run finishes again. Answers
-- why not, with the id of another run under way where there is one, or 'created' with the flow.
expect(KEYS[1], 'stream')
local lanes, live = lanes_of(KEYS[10], KEYS[11]), live_of(KEYS[2])
expect(KEYS[6], 'hash')
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then
  return { 'gone' }
end
local run = redis.call('HMGET', KEYS[5], 'state', 'spec', 'round')
local round = tonumber(run[3] or '')
if run[2] ~= ARGV[6] or not round then
  return { 'run gone' }
end
if run[1] ~= 'run' and run[1] ~= 'ended' then
  return { run[1] == 'finish' and 'finishing' or 'run gone' }
end
if redis.call('HGET', KEYS[7], ARGV[4]) ~= ARGV[5] or redis.call('HEXISTS', KEYS[6], ARGV[4]) == 1 then
  return { 'no failure' }
end
local other = text_at(KEYS[8])
if run[1] == 'ended' and other and other ~= ARGV[3] then
  local state = state_at(ARGV[11] .. other)
  if state == 'run' or state == 'finish' then
    return { 'another run', other }
  end
end
if not text_at(KEYS[9]) then
  return { 'forgotten' }
end

-- A removal comes first, here as where a flow ends: a full Redis lets go on what has begun.
local now, first_look, life = now_ms(), tonumber(ARGV[10]), ARGV[9]
redis.call('XDEL', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[7], ARGV[4])
if run[1] == 'ended' then
  redis.call('HDEL', KEYS[5], 'outcome', 'manifest', 'ended')
  redis.call('HSET', KEYS[5], 'state', 'run', 'round', number(round + 1))
  redis.call('SET', KEYS[8], ARGV[3], 'PX', life)
  redis.call('ZADD', live.batch, number(now + first_look), 'run:' .. ARGV[3])
  for _, key in ipairs({ KEYS[5], KEYS[7] }) do
    redis.call('PEXPIRE', key, life)
  end
end
renew_record(KEYS[9], life)
create_flow({ flow = KEYS[3], live = live, lanes = lanes, job = KEYS[4] }, {
  id = ARGV[2], kind = 'block', lane = 'batch', spec = ARGV[6], join = '', run = ARGV[3], block = ARGV[4],
  job_id = ARGV[7], job_body = ARGV[8], now = now, first_look = first_look, life = life,
})
redis.call('HSET', KEYS[6], ARGV[4], ARGV[2])
redis.call('PEXPIRE', KEYS[6], life)
return { 'created', ARGV[2] }
