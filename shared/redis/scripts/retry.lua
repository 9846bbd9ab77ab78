-- (dead letter) -> split: a flow that failed is asked for again, as a new flow, or joins the one under way.
-- KEYS  dead, click queue, batch queue, what the live sets' names start with, flow, job, join; the record of its generation, if it is bound to one
-- ARGV  dead letter, flow id, lane, kind, spec, job id, job body, life ms, first look ms, prefix of flow keys
-- Answers 'gone' when the letter is there no more, 'forgotten' when the record is, and else 'created' or 'joined' with
-- the flow that works for it now.
expect(KEYS[1], 'stream')
local lanes, live = lanes_of(KEYS[2], KEYS[3]), live_of(KEYS[4])
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then
  return { 'gone' }
end
if KEYS[8] and not text_at(KEYS[8]) then
  return { 'forgotten' }
end
local under_way = text_at(KEYS[7])
local joins = under_way and unfinished(state_at(ARGV[10] .. under_way))

-- A removal comes first, here as where a flow ends: a full Redis lets go on what has begun.
redis.call('XDEL', KEYS[1], ARGV[1])
if KEYS[8] then
  renew_record(KEYS[8], ARGV[8])
end
if joins then
  return { 'joined', under_way }
end
redis.call('SET', KEYS[7], ARGV[2], 'PX', ARGV[8])
create_flow({ flow = KEYS[5], live = live, lanes = lanes, job = KEYS[6] }, {
  id = ARGV[2], lane = ARGV[3], kind = ARGV[4], spec = ARGV[5], join = KEYS[7], run = '', block = '', job_id = ARGV[6],
  job_body = ARGV[7], now = now_ms(), first_look = tonumber(ARGV[9]), life = ARGV[8],
})
return { 'created', ARGV[2] }
