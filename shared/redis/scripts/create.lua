-- (nothing) -> split: creates flows, each with its job and its entry among the live ones, or joins those under way.
-- KEYS  click queue, batch queue, live; for each flow: flow, job, join
-- ARGV  lane, life ms, first look ms, prefix of flow keys, how many jobs the lane may hold ('' any number);
--       for each flow: id, kind, spec, job id, job body
-- Who joins from the click lane a flow that is on the batch lane raises it: what of it nobody has claimed changes lanes.
-- Answers the ids of the flows that now work for each, new or joined; or how many jobs the lane holds when that is too
-- many for another flow.
local lane, life, first_look, flow_prefix = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
expect(KEYS[3], 'zset')
local lanes = lanes_of(KEYS[1], KEYS[2])

local under_way, new = {}, 0
for i = 1, (#KEYS - 3) / 3 do
  local id = text_at(KEYS[3 * i + 3])
  under_way[i] = id and unfinished(redis.call('HGET', flow_prefix .. id, 'state')) and id
  new = new + (under_way[i] and 0 or 1)
end
local held = redis.call('ZCARD', lanes[lane])
if ARGV[5] ~= '' and new > 0 and held >= tonumber(ARGV[5]) then
  return number(held)
end

local function raise(id)
  local key = flow_prefix .. id
  local flow = redis.call('HMGET', key, 'state', 'round', 'planned', 'lane', 'kind')
  if lane_of(flow[4], flow[5]) == 'click' then
    return
  end
  redis.call('HSET', key, 'lane', 'click')
  for _, job in ipairs(jobs_of(id, flow[1], flow[2], flow[3])) do
    local place = redis.call('ZSCORE', lanes.batch, job)
    if place and tonumber(place) < CLAIMED and lanes.wakes then
      redis.call('ZREM', lanes.batch, job)
      redis.call('ZADD', lanes.click, place, job)
      wake(lanes.click, 1)
    end
  end
end

local now = now_ms()
local ids, made = {}, {}
for i = 1, (#KEYS - 3) / 3 do
  local flow, job, join = KEYS[3 * i + 1], KEYS[3 * i + 2], KEYS[3 * i + 3]
  local id, kind, spec, job_id, job_body = unpack(ARGV, 5 * i + 1, 5 * i + 5)
  ids[i] = under_way[i] or made[join]
  if not ids[i] then
    redis.call('SET', join, id, 'PX', life)
    create_flow({ flow = flow, live = KEYS[3], lanes = lanes, job = job }, {
      id = id, kind = kind, spec = spec, join = join, run = '', block = '', lane = lane, job_id = job_id,
      job_body = job_body, now = now, first_look = first_look, life = life,
    })
    ids[i], made[join] = id, id
  elseif lane == 'click' then
    raise(ids[i])
  end
end
return ids
