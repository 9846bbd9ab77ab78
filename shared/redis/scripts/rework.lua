-- reduce -> run of the next round: drops unusable partials and creates the chunk jobs of the missing ones.
-- KEYS  live_stem is the prefix of the live sets; then the jobs of the next round
-- ARGV  round: the reduce's; the number of partials to drop, their fields; for each job: index, id, body
-- Answers 'late', 'spent' when the flow was reworked often enough already, or 'again'.
local flow, partials, live_stem, click, batch = unpack(KEYS, 1, 5)
local count, job_of = tail(KEYS, 5, 1)
local id, round, first_look, drops = unpack(ARGV, 1, 4)
local dropped = { unpack(ARGV, 5, 4 + drops) }
local _, fields_of = tail(ARGV, 4 + drops, 3)

local state, flow_round, reworks, place, flow_lane =
  unpack(redis.call('HMGET', flow, 'state', 'round', 'rework', 'place', 'lane'))
if state ~= 'reduce' or flow_round ~= round then return 'late' end
if tonumber(reworks) >= MAX_REWORK then return 'spent' end
expect(partials, 'hash')
local lanes, live, lane = lanes_of(click, batch), live_of(live_stem), lane_of(flow_lane)
delete_first(flow)
if #dropped > 0 then
  redis.call('HDEL', partials, unpack(dropped))
end
redis.call('HSET', flow, 'state', 'run', 'round', number(round + 1), 'rework', number(reworks + 1), 'looks', '0')
redis.call('ZADD', live[lane], number(now_ms() + first_look), 'flow:' .. id)
for i = 1, count do
  local index, job_id, body = fields_of(i)
  if redis.call('HEXISTS', partials, index) == 0 then
    enqueue(lanes, lane, place, job_of(i), job_id, body)
  end
end
return 'again'
