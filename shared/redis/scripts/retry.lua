-- (dead letter) -> split: retries a failed flow as a new one, or joins an unfinished flow for the same.
-- KEYS  live_stem is the prefix of the live sets; record only for a flow that is bound to a generation
-- ARGV  letter: the dead letter's id; flow_stem: the prefix of flow keys
-- Answers 'gone' without the letter, 'forgotten' without the record, or else 'created' or 'joined' with the flow's id.
local dead, click, batch, live_stem, flow, job, join, record = unpack(KEYS)
local letter, id, lane, kind, spec, job_id, job_body, first_look, flow_stem = unpack(ARGV)

expect(dead, 'stream')
local lanes, live = lanes_of(click, batch), live_of(live_stem)
if #redis.call('XRANGE', dead, letter, letter) == 0 then return { 'gone' } end
if record and not text_at(record) then return { 'forgotten' } end
local known = text_at(join)
local joins = known and unfinished(state_at(flow_stem .. known))

redis.call('XDEL', dead, letter) -- A removal comes first.
if record then
  renew_record(record)
end
if joins then return { 'joined', known } end
redis.call('SET', join, id, 'PX', UNFINISHED_TTL_MS)
create_flow({ flow = flow, live = live, lanes = lanes, job = job }, {
  id = id, lane = lane, kind = kind, spec = spec, join = join, run = '', block = '', job_id = job_id,
  job_body = job_body, now = now_ms(), first_look = first_look,
})
return { 'created', id }
