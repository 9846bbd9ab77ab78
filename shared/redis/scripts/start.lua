-- (nothing) -> run: creates a run with its first window of blocks, or joins the one under way for its generation.
-- KEYS  live_stem is the prefix of the live sets; for each block of the window: flow, job
-- ARGV  seen: the current pointer's value; since: its generation ('' none); run_stem: the prefix of run keys; window:
--       how many blocks may be in flight ('' as many as the live workers hold); dry: '1' if it makes nothing live; for
--       each block: flow id, job id, job body
-- Answers the id of the run and 'started', 'joined', or 'other' if only one of the two is dry; false when the pointer has moved since it was read.
local run_of, run, flight, live_stem, record_key, current, click, batch, generations, workers = unpack(KEYS, 1, 10)
local count, keys_of = tail(KEYS, 10, 2)
local id, generation, record, seen, spec, blocks, block_size, users, first_look, run_stem, since, snapshot, window, dry =
  unpack(ARGV, 1, 14)
local _, fields_of = tail(ARGV, 14, 3)

expect(generations, 'hash')
local lanes, live = lanes_of(click, batch), live_of(live_stem)
local other = text_at(run_of)
if other and under_way(state_at(run_stem .. other)) then
  local same = (redis.call('HGET', run_stem .. other, 'dry') or '') == dry
  return { other, same and 'joined' or 'other' }
end
if (text_at(current) or '') ~= seen then return false end
local now = now_ms()
redis.call('SET', run_of, id, 'PX', UNFINISHED_TTL_MS)
keep_record(record_key, record)
redis.call('HSET', generations, generation, snapshot)
-- Its id is fresh: values at its keys were planted.
redis.call('DEL', run, flight)
redis.call('HSET', run, 'state', 'run', 'generation', generation, 'since', since, 'spec', spec, 'next', '0',
  'blocks', blocks, 'block_size', block_size, 'users', users, 'round', '0', 'started', number(now),
  'window', window, 'dry', dry)
redis.call('PEXPIRE', run, UNFINISHED_TTL_MS)
redis.call('ZADD', live[BATCH], number(now + first_look), 'run:' .. id)
for i = 1, count do
  local flow, job = keys_of(i)
  local flow_id, job_id, job_body = fields_of(i)
  create_next_block({
    flow = flow, live = live, lanes = lanes, job = job, run = run, flight = flight, workers = workers,
  }, { id = flow_id, job_id = job_id, job_body = job_body, run = id, threads = 1, now = now, first_look = first_look })
end
return { id, 'started' }
