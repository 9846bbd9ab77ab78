-- reduce -> run of the next round: drops the partials that cannot be used and creates the jobs of those missing.
-- KEYS  flow, partials, what the live sets' names start with, click queue, batch queue; then the keys of the chunk
--       jobs of the next round
-- ARGV  flow id, round that the reduce saw, how often at most, first look ms, life ms, number of partials to drop,
--       their fields; for each job: index, id, body
-- Answers 'late', 'spent' when it was done often enough already, or 'again'.
local flow = redis.call('HMGET', KEYS[1], 'state', 'round', 'rework', 'place', 'lane')
if flow[1] ~= 'reduce' or flow[2] ~= ARGV[2] then
  return 'late'
end
if tonumber(flow[3]) >= tonumber(ARGV[3]) then
  return 'spent'
end
expect(KEYS[2], 'hash')
local lanes, live, lane = lanes_of(KEYS[4], KEYS[5]), live_of(KEYS[3]), lane_of(flow[5])
local drops = tonumber(ARGV[6])
removal_first(KEYS[1])
if drops > 0 then
  redis.call('HDEL', KEYS[2], unpack(ARGV, 7, 6 + drops))
end
redis.call('HSET', KEYS[1], 'state', 'run', 'round', number(tonumber(flow[2]) + 1), 'rework',
  number(tonumber(flow[3]) + 1), 'looks', '0')
redis.call('ZADD', live[lane], number(now_ms() + tonumber(ARGV[4])), 'flow:' .. ARGV[1])
for i = 6, #KEYS do
  local at = 7 + drops + 3 * (i - 6)
  if redis.call('HEXISTS', KEYS[2], ARGV[at]) == 0 then
    enqueue(lanes, lane, flow[4], KEYS[i], ARGV[at + 1], ARGV[at + 2], ARGV[5])
  end
end
return 'again'
