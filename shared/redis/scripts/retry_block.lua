-- (dead letter) -> split: retries a failed block. Its run stays in run, or goes from ended to run of the next round.
-- KEYS  live_stem is the prefix of the live sets; flow and job are the new ones
-- ARGV  letter: the dead letter's id; outcome: the block's, as the caller read it; run_stem: the prefix of run keys
-- Deletes the block's outcome and puts the block in flight. After its last block the run finishes again.
-- Answers 'created' with the flow's id, or the reason why not; 'another run' with that run's id.
local dead, live_stem, flow, job, run, flight, blocks, run_of, record, click, batch = unpack(KEYS)
local letter, id, run_id, block, outcome, spec, job_id, job_body, first_look, run_stem = unpack(ARGV)

expect(dead, 'stream')
local lanes, live = lanes_of(click, batch), live_of(live_stem)
expect(flight, 'hash')
if #redis.call('XRANGE', dead, letter, letter) == 0 then return { 'gone' } end
local state, run_spec, round = unpack(redis.call('HMGET', run, 'state', 'spec', 'round'))
round = tonumber(round)
if run_spec ~= spec or not round then return { 'run gone' } end
if state ~= 'run' and state ~= 'ended' then return { state == 'finish' and 'finishing' or 'run gone' } end
if redis.call('HGET', blocks, block) ~= outcome or redis.call('HEXISTS', flight, block) == 1 then
  return { 'no failure' }
end
local other = text_at(run_of)
if state == 'ended' and other and other ~= run_id and under_way(state_at(run_stem .. other)) then
  return { 'another run', other }
end
if not text_at(record) then return { 'forgotten' } end

local now = now_ms()
redis.call('XDEL', dead, letter) -- A removal comes first.
redis.call('HDEL', blocks, block)
if state == 'ended' then
  redis.call('HDEL', run, 'outcome', 'manifest', 'ended')
  redis.call('HSET', run, 'state', 'run', 'round', number(round + 1))
  redis.call('SET', run_of, run_id, 'PX', UNFINISHED_TTL_MS)
  redis.call('ZADD', live[BATCH], number(now + first_look), 'run:' .. run_id)
  redis.call('PEXPIRE', run, UNFINISHED_TTL_MS)
  redis.call('PEXPIRE', blocks, UNFINISHED_TTL_MS)
end
renew_record(record)
create_block_flow({ flow = flow, live = live, lanes = lanes, job = job, flight = flight }, {
  id = id, spec = spec, run = run_id, block = block, job_id = job_id, job_body = job_body, now = now,
  first_look = first_look,
})
return { 'created', id }
