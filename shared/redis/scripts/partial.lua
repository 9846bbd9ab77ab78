-- run -> run, or run -> reduce with the last one missing: stores a chunk task's partial and its trace.
-- KEYS  live_stem is the prefix of the live sets, job the reduce's
-- ARGV  index: the task's, or '' to store nothing and only check whether all partials are there
-- Answers 'late' when the flow is past this round, 'stored', or 'last' when it moved the flow to reduce.
local flow, partials, tasks, live_stem, click, batch, job = unpack(KEYS)
local id, round, index, partial, trace, job_id, job_body, first_look = unpack(ARGV)

local state, flow_round, planned, place, lane =
  unpack(redis.call('HMGET', flow, 'state', 'round', 'planned', 'place', 'lane'))
if state ~= 'run' or flow_round ~= round then return 'late' end
local held = redis.call('HLEN', partials)
local missing = index ~= '' and redis.call('HEXISTS', partials, index) == 0
local last = held + (missing and 1 or 0) >= tonumber(planned)
local lanes, live = last and lanes_of(click, batch), last and live_of(live_stem)
if missing then
  redis.call('HSET', partials, index, partial)
  if held == 0 then
    redis.call('PEXPIRE', partials, UNFINISHED_TTL_MS)
  end
  if type(redis.pcall('HSET', tasks, index, trace)) ~= 'number' then
    -- The key holds another type.
    redis.call('DEL', tasks)
    redis.call('HSET', tasks, index, trace)
  end
  redis.call('PEXPIRE', tasks, UNFINISHED_TTL_MS)
end
if not last then return 'stored' end
redis.call('HSET', flow, 'state', 'reduce', 'looks', '0')
lane = lane_of(lane)
redis.call('ZADD', live[lane], number(now_ms() + first_look), 'flow:' .. id)
enqueue(lanes, lane, place, job, job_id, job_body)
return 'last'
