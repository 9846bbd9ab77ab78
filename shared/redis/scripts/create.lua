-- (nothing) -> split: creates flows, each with its job and its entry among the live ones, or joins those under way.
-- KEYS  click queue, batch queue, what the live sets' names start with; for each flow: flow, job, join
-- ARGV  lane, life ms, first look ms, prefix of flow keys, how many jobs the lane may hold ('' any number);
--       for each flow: id, kind, spec, job id, job body
-- Who joins from the click lane a flow on the batch lane raises it: what of it nobody has claimed changes lanes, and it is
-- looked at among the clicks.
-- Answers how many jobs the lane holds then, and the ids of the flows that now work for each, new or joined: only those
-- before the first new one for which the lane has no room.
local lane, life, first_look, flow_prefix = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local lanes, live = lanes_of(KEYS[1], KEYS[2]), live_of(KEYS[3])

local under_way = {}
for i = 1, (#KEYS - 3) / 3 do
  local id = text_at(KEYS[3 * i + 3])
  under_way[i] = id and unfinished(state_at(flow_prefix .. id)) and id
end

local function is_full()
  return ARGV[5] ~= '' and redis.call('ZCARD', lanes[lane]) >= tonumber(ARGV[5])
end

local function raise(id)
  local key = flow_prefix .. id
  local flow = redis.call('HMGET', key, 'state', 'round', 'planned', 'lane')
  if lane_of(flow[4]) == 'click' then
    return
  end
  redis.call('HSET', key, 'lane', 'click')
  local look = redis.call('ZSCORE', live.batch, 'flow:' .. id)
  if look then
    redis.call('ZREM', live.batch, 'flow:' .. id)
    redis.call('ZADD', live.click, look, 'flow:' .. id)
  end
  for _, job in ipairs(jobs_of(id, flow[1], flow[2], flow[3])) do
    local score = redis.call('ZSCORE', lanes.batch, job)
    local paused = pauses(score) and redis.call('ZSCORE', lanes.batch .. ':leases', job)
    if score and tonumber(score) < CLAIMED or paused then
      redis.call('ZREM', lanes.batch, job)
      redis.call('ZADD', lanes.click, score, job)
      wake(lanes.click, 1)
    end
    if paused then
      redis.call('ZREM', lanes.batch .. ':leases', job)
      redis.call('ZADD', lanes.click .. ':leases', paused, job)
    end
  end
end

local now = now_ms()
local ids, made = {}, {}
for i = 1, (#KEYS - 3) / 3 do
  local flow, job, join = KEYS[3 * i + 1], KEYS[3 * i + 2], KEYS[3 * i + 3]
  local id, kind, spec, job_id, job_body = unpack(ARGV, 5 * i + 1, 5 * i + 5)
  local known = under_way[i] or made[join]
  if not known and is_full() then
    break
  elseif not known then
    known = id
    redis.call('SET', join, id, 'PX', life)
    create_flow({ flow = flow, live = live, lanes = lanes, job = job }, {
      id = id, kind = kind, spec = spec, join = join, run = '', block = '', lane = lane, job_id = job_id,
      job_body = job_body, now = now, first_look = first_look, life = life,
    })
    made[join] = id
  elseif lane == 'click' then
    raise(known)
  end
  ids[i] = known
end
return { number(redis.call('ZCARD', lanes[lane])), unpack(ids) }
