-- (nothing) -> split: creates flows, each with its job and its live entry, or joins those under way.
-- KEYS  live_stem is the prefix of the live sets; for each flow: flow, job, join
-- ARGV  flow_stem is the prefix of flow keys, most_queued how many jobs the lane may hold ('' any number),
--       traceparent is the caller's trace context ('' none); for each flow: id, kind, spec, job id, job body
-- A join from the click lane raises a flow of the batch lane: its unclaimed jobs and its live entry change lanes.
-- Answers how many jobs the lane then holds, and the id of each flow, new or joined. The ids end before the first new
-- flow for which the lane has no room.
local click, batch, live_stem = unpack(KEYS, 1, 3)
local count, keys_of = tail(KEYS, 3, 3)
local lane, first_look, flow_stem, most_queued, traceparent = unpack(ARGV, 1, 5)
local _, fields_of = tail(ARGV, 5, 5)

local lanes, live = lanes_of(click, batch), live_of(live_stem)
local joined = {}
for i = 1, count do
  local _, _, join = keys_of(i)
  local id = text_at(join)
  joined[i] = id and unfinished(state_at(flow_stem .. id)) and id
end

local function is_full()
  return most_queued ~= '' and redis.call('ZCARD', lanes[lane]) >= tonumber(most_queued)
end

local now = now_ms()
local ids, made = {}, {}
for i = 1, count do
  local flow, job, join = keys_of(i)
  local id, kind, spec, job_id, job_body = fields_of(i)
  local known = joined[i] or made[join]
  if not known and is_full() then
    break
  elseif not known then
    known = id
    redis.call('SET', join, id, 'PX', UNFINISHED_TTL_MS)
    create_flow({ flow = flow, live = live, lanes = lanes, job = job }, {
      id = id, kind = kind, spec = spec, join = join, run = '', block = '', lane = lane, job_id = job_id,
      job_body = job_body, now = now, first_look = first_look, traceparent = traceparent,
    })
    made[join] = id
  elseif lane == CLICK then
    raise(lanes, live, flow_stem .. known, known)
  end
  ids[i] = known
end
return { number(redis.call('ZCARD', lanes[lane])), unpack(ids) }
