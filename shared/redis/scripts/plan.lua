-- split -> run, or split -> reduce when the plan is empty: stores the plan and creates all its chunk jobs.
-- KEYS  flow, what the live sets' names start with, click queue, batch queue; then the keys of the jobs
-- ARGV  flow id, plan, number of chunk tasks, first look ms, life ms; for each job: id, body
-- The jobs are the chunk jobs, or the reduce alone when there are none. Answers 1, or 0 when the flow is past split.
local flow = redis.call('HMGET', KEYS[1], 'place', 'lane', 'state')
if flow[3] ~= 'split' then
  return 0
end
local lanes, live = lanes_of(KEYS[3], KEYS[4]), live_of(KEYS[2])
local lane = lane_of(flow[2])
local state = tonumber(ARGV[3]) > 0 and 'run' or 'reduce'
redis.call('HSET', KEYS[1], 'state', state, 'plan', ARGV[2], 'planned', ARGV[3], 'looks', '0')
redis.call('ZADD', live[lane], number(now_ms() + tonumber(ARGV[4])), 'flow:' .. ARGV[1])
for i = 5, #KEYS do
  enqueue(lanes, lane, flow[1], KEYS[i], ARGV[2 * i - 4], ARGV[2 * i - 3], ARGV[5])
end
return 1
