-- split -> run, or split -> reduce for an empty plan: stores the plan and creates all its chunk jobs.
-- KEYS  live_stem is the prefix of the live sets; then the jobs
-- ARGV  the plan, its number of chunk tasks; for each job: id, body
-- The jobs are the chunk jobs, or only the reduce for an empty plan. Answers 1, or 0 when the flow is past split.
local flow, live_stem, click, batch = unpack(KEYS, 1, 4)
local count, job_of = tail(KEYS, 4, 1)
local id, plan, planned, first_look = unpack(ARGV, 1, 4)
local _, fields_of = tail(ARGV, 4, 2)

local place, flow_lane, state = unpack(redis.call('HMGET', flow, 'place', 'lane', 'state'))
if state ~= 'split' then return 0 end
local lanes, live, lane = lanes_of(click, batch), live_of(live_stem), lane_of(flow_lane)
local following = tonumber(planned) > 0 and 'run' or 'reduce'
redis.call('HSET', flow, 'state', following, 'plan', plan, 'planned', planned, 'looks', '0')
redis.call('ZADD', live[lane], number(now_ms() + first_look), 'flow:' .. id)
for i = 1, count do
  enqueue(lanes, lane, place, job_of(i), fields_of(i))
end
return 1
