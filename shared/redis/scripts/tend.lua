-- Checks an unfinished run: recreates lost blocks and a lost finish, and renews the time to live of its keys.
-- KEYS  live_stem is the prefix of the live sets, finish_job the job of the finish; for each lost block: flow, job
-- ARGV  delay: ms to the next check; flow_stem: the prefix of flow keys; round: the run's, as it was read; for each
--       lost block: its number, its lost flow ('' unknown), new flow id, job id, job body
-- Answers how many jobs it created, or -1 when the run has ended and left the live set.
local run, flight, blocks, live_stem, run_of, record, finish_job, click, batch = unpack(KEYS, 1, 9)
local count, keys_of = tail(KEYS, 9, 2)
local id, delay, first_look, finish_id, finish_body, flow_stem, round = unpack(ARGV, 1, 7)
local _, fields_of = tail(ARGV, 7, 5)

local state, spec, following, planned, run_round =
  unpack(redis.call('HMGET', run, 'state', 'spec', 'next', 'blocks', 'round'))
local lanes, live = lanes_of(click, batch), live_of(live_stem)
if not under_way(state) then
  leave(live, 'run:' .. id)
  return -1
end
following, planned = tonumber(following), tonumber(planned)
-- The sweeper ends a damaged run at its next check.
if run_round ~= round or not following or not planned or not spec then return 0 end
expect(flight, 'hash')
expect(blocks, 'hash')
local now, lost, made = now_ms(), {}, 0
for i = 1, count do
  local block, gone = fields_of(i)
  local flow = redis.call('HGET', flight, block)
  local missing = gone == '' and not flow
    or gone ~= '' and flow == gone and not unfinished(state_at(flow_stem .. gone))
  if state == 'run' and missing and redis.call('HEXISTS', blocks, block) == 0 then
    lost[#lost + 1] = i
  end
end
leave(live, 'run:' .. id) -- A removal comes first.
redis.call('ZADD', live[BATCH], number(now + delay), 'run:' .. id)
for _, key in ipairs({ run, flight, blocks, run_of }) do
  redis.call('PEXPIRE', key, UNFINISHED_TTL_MS)
end
renew_record(record)
for _, i in ipairs(lost) do
  local flow, job = keys_of(i)
  local block, _, flow_id, job_id, job_body = fields_of(i)
  create_block_flow({ flow = flow, live = live, lanes = lanes, job = job, flight = flight }, {
    id = flow_id, spec = spec, run = id, block = block, job_id = job_id, job_body = job_body, now = now,
    first_look = first_look,
  })
  made = made + 1
end
if state == 'run' and redis.call('HLEN', flight) == 0 and following >= planned then
  redis.call('HSET', run, 'state', 'finish')
  state = 'finish'
end
if state == 'finish' then
  if not (queued(lanes, finish_id) and redis.call('EXISTS', finish_job) == 1) then
    enqueue(lanes, BATCH, number(now), finish_job, finish_id, finish_body)
    made = made + 1
  else
    redis.call('PEXPIRE', finish_job, UNFINISHED_TTL_MS)
  end
end
return made
