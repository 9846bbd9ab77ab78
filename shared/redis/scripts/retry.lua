-- (dead letter) -> split: a flow that failed is asked for again, as a new flow, or joins the one under way.
-- KEYS  dead, queue, live, flow, job, join; the record of its generation, if it is bound to one
-- ARGV  dead letter, flow id, kind, spec, job id, job body, life ms, first look ms, prefix of flow keys
-- Answers 'gone' when the letter is there no more, 'forgotten' when the record is, and else 'created' or 'joined' with the
-- flow that works for it now.
expect(KEYS[1], 'stream')
expect(KEYS[2], 'zset')
expect(KEYS[3], 'zset')
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then
  return { 'gone' }
end
if KEYS[7] and not text_at(KEYS[7]) then
  return { 'forgotten' }
end
local under_way = text_at(KEYS[6])
local joins = under_way and unfinished(redis.call('HGET', ARGV[9] .. under_way, 'state'))

-- A removal comes first, here as where a flow ends: a full Redis lets go on what has begun.
redis.call('XDEL', KEYS[1], ARGV[1])
if KEYS[7] then
  renew_record(KEYS[7], ARGV[7])
end
if joins then
  return { 'joined', under_way }
end
redis.call('SET', KEYS[6], ARGV[2], 'PX', ARGV[7])
create_flow({ flow = KEYS[4], live = KEYS[3], queue = KEYS[2], job = KEYS[5] }, {
  id = ARGV[2], kind = ARGV[3], spec = ARGV[4], join = KEYS[6], run = '', block = '', job_id = ARGV[5],
  job_body = ARGV[6], now = now_ms(), first_look = tonumber(ARGV[8]), life = ARGV[7],
})
return { 'created', ARGV[2] }
