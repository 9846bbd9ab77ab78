-- run -> run, or run -> reduce with the last one missing: stores a chunk task's partial and who did it.
-- KEYS  flow, partials, tasks, what the live sets' names start with, click queue, batch queue, the reduce's job
-- ARGV  flow id, round, index ('' stores nothing and only looks whether all are there), partial, trace,
--       the reduce's id, its body, first look ms, life ms
-- Answers 'late' when the flow is past this round, 'stored', or 'last' when it moved the flow to reduce.
local flow = redis.call('HMGET', KEYS[1], 'state', 'round', 'planned', 'place', 'lane')
if flow[1] ~= 'run' or flow[2] ~= ARGV[2] then
  return 'late'
end
local index, life, held = ARGV[3], ARGV[9], redis.call('HLEN', KEYS[2])
local missing = index ~= '' and redis.call('HEXISTS', KEYS[2], index) == 0
local last = held + (missing and 1 or 0) >= tonumber(flow[3])
local lanes, live = last and lanes_of(KEYS[5], KEYS[6]), last and live_of(KEYS[4])
if missing then
  redis.call('HSET', KEYS[2], index, ARGV[4])
  if held == 0 then
    redis.call('PEXPIRE', KEYS[2], life)
  end
  if type(redis.pcall('HSET', KEYS[3], index, ARGV[5])) ~= 'number' then
    -- What stands in the place of the traces is none.
    redis.call('DEL', KEYS[3])
    redis.call('HSET', KEYS[3], index, ARGV[5])
  end
  redis.call('PEXPIRE', KEYS[3], life)
end
if not last then
  return 'stored'
end
redis.call('HSET', KEYS[1], 'state', 'reduce', 'looks', '0')
local lane = lane_of(flow[5])
redis.call('ZADD', live[lane], number(now_ms() + tonumber(ARGV[8])), 'flow:' .. ARGV[1])
enqueue(lanes, lane, flow[4], KEYS[7], ARGV[6], ARGV[7], life)
return 'last'
