-- split | run | reduce -> done | failed | cancelled: the one way in which a flow ends.
-- KEYS  live_stem is the prefix of the live sets, join the flow again where it has none; for a user's job that is done:
--       flow and job of the one that may follow; for a block: run and so on; for each block that may follow: flow, job
-- ARGV  the flow must be in from_state ('' any unfinished) and from_round ('' any), and the partial of chunk task
--       `index` missing ('' none); spare_spec replaces an unreadable spec ('' none); for a user's job that is done: user,
--       version of the recent history that it has seen, flow id, job id and job body of the one that may follow; for a
--       block: outcome and so on; threads: how many batch threads each worker has; for each block that may follow: flow
--       id, job id, job body
-- Drops the partials, frees the join, notifies waiting clients. Unless the flow is done, its jobs are dropped, also
-- running ones; a failed flow becomes a dead letter. A block is noted in its run: as many blocks follow as the window
-- has room for or, after the last one, the finish. If the recent history of a user has changed since it was planned,
-- another job for the same list follows. Answers 1, or 0 when it had ended before.
local flow, partials, tasks, live_stem, join, dead, click, batch, versions = unpack(KEYS, 1, 9)
local run, flight, blocks, workers, finish_job = unpack(KEYS, 10, 14)
local count, keys_of = tail(KEYS, 14, 2)
local id, state, from_state, from_round, index, reason, answer, channel, first_look, spare_spec = unpack(ARGV, 1, 10)
local outcome, finish_id, finish_body, run_id, threads = unpack(ARGV, 11, 15)
local _, fields_of = tail(ARGV, 15, 3)
local next_flow, next_job = unpack(KEYS, 10, 11)
local user, seen, next_id, next_job_id, next_job_body = unpack(ARGV, 11, 15)
if finish_job then
  user = nil
else
  run = nil
end

local old_state, round, spec, kind, flow_block, planned, lane =
  unpack(redis.call('HMGET', flow, 'state', 'round', 'spec', 'kind', 'block', 'planned', 'lane'))
-- A flow with a damaged state can be ended, as failed.
if old_state == 'done' or old_state == 'failed' or old_state == 'cancelled'
  or not old_state and redis.call('EXISTS', flow) == 0 then
  return 0
end
if (from_state ~= '' and old_state ~= from_state) or (from_round ~= '' and round ~= from_round) then return 0 end
if index ~= '' and redis.call('HEXISTS', partials, index) == 1 then return 0 end
expect(dead, 'stream')
local now = now_ms()
local owns_join = text_at(join) == id
local block, live = flow_block or '', live_of(live_stem)
local lanes = (run or user or state ~= 'done') and lanes_of(click, batch)
local version = user and redis.pcall('HGET', versions, user) or ''
local changed = user and owns_join and type(version) == 'string' and version ~= seen
if run then
  expect(run, 'hash')
  expect(blocks, 'hash')
end
local in_run = run and redis.call('HGET', flight, block) == id

leave(live, 'flow:' .. id) -- A removal comes first.
redis.call('DEL', partials)
if state ~= 'done' then
  drop_jobs(lanes, jobs_of(id, old_state, round, planned))
end
if owns_join then
  redis.call('DEL', join)
end
redis.call('HSET', flow, 'state', state, 'reason', reason, 'answer', answer, 'ended', number(now))
if spare_spec ~= '' then
  -- Waiting clients must be able to read that it failed.
  redis.call('HDEL', flow, 'plan')
  redis.call('HSET', flow, 'round', '0', 'place', '0', 'created', '0', 'looks', '0', 'rework', '0', 'planned', '0',
    'spec', spare_spec, 'join', '', 'run', '', 'lane', BATCH)
end
redis.call('PEXPIRE', flow, ENDED_TTL_MS)
redis.call('PEXPIRE', tasks, ENDED_TTL_MS)
if state == 'failed' then
  -- A retry needs the whole spec: the largest, a basket's with a filter, has less than 144 KiB.
  add_letter(dead, 'kind', 'flow', 'id', id, 'of', kind or '', 'reason', reason, 'data',
    string.sub(spec or '', 1, 147456), 'block', in_run and block or '')
end
if in_run then
  redis.call('HDEL', flight, block)
  redis.call('HSET', blocks, block, outcome)
  redis.call('PEXPIRE', blocks, UNFINISHED_TTL_MS)
  for i = 1, count do
    local next_flow, next_job = keys_of(i)
    local next_id, job_id, job_body = fields_of(i)
    local more = create_next_block({
      flow = next_flow, live = live, lanes = lanes, job = next_job, run = run, flight = flight, workers = workers,
    }, {
      id = next_id, job_id = job_id, job_body = job_body, run = run_id, threads = threads, now = now,
      first_look = first_look,
    })
    if not more then break end
  end
  if redis.call('HLEN', flight) == 0 and redis.call('HGET', run, 'state') == 'run' then
    redis.call('HSET', run, 'state', 'finish')
    redis.call('ZADD', live[BATCH], number(now + first_look), 'run:' .. run_id)
    enqueue(lanes, BATCH, number(now), finish_job, finish_id, finish_body)
  end
end
if changed then
  redis.call('SET', join, next_id, 'PX', UNFINISHED_TTL_MS)
  create_flow({ flow = next_flow, live = live, lanes = lanes, job = next_job }, {
    id = next_id, kind = 'user', spec = spec, join = join, run = '', block = '', lane = lane_of(lane),
    job_id = next_job_id, job_body = next_job_body, now = now, first_look = first_look,
  })
end
redis.call('PUBLISH', channel, state)
return 1
