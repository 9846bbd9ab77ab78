-- Checks an unfinished flow: recreates its lost jobs, and renews the time to live of its keys and jobs.
-- KEYS  live_stem is the prefix of the live sets, join the flow again where it has none; then the jobs of this state
-- ARGV  delay: ms to the next check; looks: the checks without a loss so far; for each job: id, body, index of its
--       partial ('' for a split or reduce)
-- Answers the number of created jobs; -1 when the flow has left the state or round that was read; or -2 when it is in
-- run and all its partials are stored.
local flow, partials, tasks, live_stem, click, batch, join = unpack(KEYS, 1, 7)
local count, job_of = tail(KEYS, 7, 1)
local id, seen_state, seen_round, delay, looks = unpack(ARGV, 1, 5)
local _, fields_of = tail(ARGV, 5, 3)

local state, round, place, planned, flow_lane =
  unpack(redis.call('HMGET', flow, 'state', 'round', 'place', 'planned', 'lane'))
if state ~= seen_state or round ~= seen_round then return -1 end
local lanes, live, lane = lanes_of(click, batch), live_of(live_stem), lane_of(flow_lane)
local held, lost = redis.call('HLEN', partials), {}
for i = 1, count do
  local job_id, _, index = fields_of(i)
  local wanted = index == '' or redis.call('HEXISTS', partials, index) == 0
  if wanted and not (queued(lanes, job_id) and redis.call('TYPE', job_of(i)).ok == 'string') then
    lost[#lost + 1] = i
  end
end
leave(live, 'flow:' .. id) -- A removal comes first.
redis.call('ZADD', live[lane], number(now_ms() + delay), 'flow:' .. id)
redis.call('HSET', flow, 'looks', #lost == 0 and looks or '0')
for i = 1, count do
  redis.call('PEXPIRE', job_of(i), UNFINISHED_TTL_MS)
end
for _, key in ipairs({ flow, partials, tasks, join }) do
  redis.call('PEXPIRE', key, UNFINISHED_TTL_MS)
end
for _, i in ipairs(lost) do
  local job_id, body = fields_of(i)
  enqueue(lanes, lane, place, job_of(i), job_id, body)
end
if state == 'run' and #lost == 0 and held >= (tonumber(planned) or math.huge) then return -2 end
return #lost
