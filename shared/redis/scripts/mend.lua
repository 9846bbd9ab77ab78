-- One look at an unfinished flow: creates those of its jobs that are lost, renews the life of all it has.
-- KEYS  flow, partials, tasks, what the live sets' names start with, click queue, batch queue, join (the flow again where it has none); then
--       the keys of the jobs that this state asks for
-- ARGV  flow id, state and round that were seen, ms to the next look, number of looks without a loss, life ms;
--       for each job: id, body, index of its partial ('' for a split or reduce)
-- Answers how many jobs it created, -1 when the flow has moved on, or -2 when it runs and all its partials are there.
local flow = redis.call('HMGET', KEYS[1], 'state', 'round', 'place', 'planned', 'lane')
if flow[1] ~= ARGV[2] or flow[2] ~= ARGV[3] then
  return -1
end
local life = ARGV[6]
local lanes, live, lane = lanes_of(KEYS[5], KEYS[6]), live_of(KEYS[4]), lane_of(flow[5])
local held, lost = redis.call('HLEN', KEYS[2]), {}
for i = 8, #KEYS do
  local at = 7 + 3 * (i - 8)
  local wanted = ARGV[at + 2] == '' or redis.call('HEXISTS', KEYS[2], ARGV[at + 2]) == 0
  if wanted and not (queued(lanes, ARGV[at]) and redis.call('TYPE', KEYS[i]).ok == 'string') then
    lost[#lost + 1] = { key = KEYS[i], at = at }
  end
end
local looks, delay = ARGV[5], tonumber(ARGV[4])
leave_live(live, 'flow:' .. ARGV[1])
redis.call('ZADD', live[lane], number(now_ms() + delay), 'flow:' .. ARGV[1])
redis.call('HSET', KEYS[1], 'looks', #lost == 0 and looks or '0')
for i = 8, #KEYS do
  redis.call('PEXPIRE', KEYS[i], life)
end
for _, key in ipairs({ KEYS[1], KEYS[2], KEYS[3], KEYS[7] }) do
  redis.call('PEXPIRE', key, life)
end
for _, job in ipairs(lost) do
  enqueue(lanes, lane, flow[3], job.key, ARGV[job.at], ARGV[job.at + 1], life)
end
if flow[1] == 'run' and #lost == 0 and held >= (tonumber(flow[4]) or math.huge) then
  return -2
end
return #lost
