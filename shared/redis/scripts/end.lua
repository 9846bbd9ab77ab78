-- split | run | reduce -> done | failed | cancelled: the one way a flow ends.
-- KEYS  flow, partials, tasks, what the live sets' names start with, join (the flow again where it has none), dead, click
--       queue, batch queue; for a block also: run, flight, blocks, next flow, next job, the finish's job
-- ARGV  flow id, state it ends in, state it must be in ('' any unfinished), round it must be in ('' any),
--       chunk task whose partial must be missing ('' none), reason, answer, life of an ended flow ms, channel, life ms,
--       first look ms, spec in the place of one that cannot be read ('' none); for a block also: outcome, id of the
--       next flow, id and body of its job, id and body of the finish, run id
-- Drops the partials, frees the join, tells who waits. Unless it is done its jobs are dropped, also those that run; a
-- failed flow becomes a dead letter. A block is noted in its run, which goes on with the next block or, with its last
-- block ended, to finish. Answers 1, or 0 when it had ended before.
local id, state = ARGV[1], ARGV[2]
local flow = redis.call('HMGET', KEYS[1], 'state', 'round', 'spec', 'kind', 'block', 'planned')
-- A state that cannot be read can be ended, in order to end as failed.
if flow[1] == 'done' or flow[1] == 'failed' or flow[1] == 'cancelled'
  or not flow[1] and redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
if (ARGV[3] ~= '' and flow[1] ~= ARGV[3]) or (ARGV[4] ~= '' and flow[2] ~= ARGV[4]) then
  return 0
end
if ARGV[5] ~= '' and redis.call('HEXISTS', KEYS[2], ARGV[5]) == 1 then
  return 0
end
expect(KEYS[6], 'stream')
local now = now_ms()
local owns_join = text_at(KEYS[5]) == id
local run, block, live = KEYS[9], flow[5] or '', live_of(KEYS[4])
local lanes = (run or state ~= 'done') and lanes_of(KEYS[7], KEYS[8])
if run then
  expect(run, 'hash')
  expect(KEYS[11], 'hash')
end
local in_run = run and redis.call('HGET', KEYS[10], block) == id

-- A removal comes first: a full Redis refuses a script whose first write takes memory, and not one that has begun.
leave_live(live, 'flow:' .. id)
redis.call('DEL', KEYS[2])
if state ~= 'done' then
  drop_jobs(lanes, jobs_of(id, flow[1], flow[2] or '', flow[6]))
end
if owns_join then
  redis.call('DEL', KEYS[5])
end
redis.call('HSET', KEYS[1], 'state', state, 'reason', ARGV[6], 'answer', ARGV[7], 'ended', number(now))
if ARGV[12] ~= '' then
  -- Whoever waits has to be able to read that it failed.
  redis.call('HDEL', KEYS[1], 'plan')
  redis.call('HSET', KEYS[1], 'round', '0', 'place', '0', 'created', '0', 'looks', '0', 'rework', '0', 'planned', '0',
    'spec', ARGV[12], 'join', '', 'run', '', 'lane', 'batch')
end
redis.call('PEXPIRE', KEYS[1], ARGV[8])
redis.call('PEXPIRE', KEYS[3], ARGV[8])
if state == 'failed' then
  -- The spec is kept whole, since the flow is retried from it: a basket's, the largest, has less than 72 KiB.
  add_letter(KEYS[6], 'kind', 'flow', 'id', id, 'of', flow[4] or '', 'reason', ARGV[6], 'data',
    string.sub(flow[3] or '', 1, 73728), 'block', in_run and block or '')
end
if in_run then
  redis.call('HDEL', KEYS[10], block)
  redis.call('HSET', KEYS[11], block, ARGV[13])
  redis.call('PEXPIRE', KEYS[11], ARGV[10])
  local more = create_block(
    { flow = KEYS[12], live = live, lanes = lanes, job = KEYS[13], run = run, flight = KEYS[10] },
    { id = ARGV[14], job_id = ARGV[15], job_body = ARGV[16], run = ARGV[19], now = now,
      first_look = tonumber(ARGV[11]), life = ARGV[10] })
  if not more and redis.call('HLEN', KEYS[10]) == 0 and redis.call('HGET', run, 'state') == 'run' then
    redis.call('HSET', run, 'state', 'finish')
    redis.call('ZADD', live.batch, number(now + tonumber(ARGV[11])), 'run:' .. ARGV[19])
    enqueue(lanes, 'batch', number(now), KEYS[14], ARGV[17], ARGV[18], ARGV[10])
  end
end
redis.call('PUBLISH', ARGV[9], state)
return 1
