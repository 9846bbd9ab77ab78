-- (nothing) -> split: creates flows, each with its job and its entry among the live ones, or joins those under way.
-- KEYS  queue, live; for each flow: flow, job, join
-- ARGV  life ms, first look ms, prefix of flow keys; for each flow: id, kind, spec, job id, job body
-- Answers the ids of the flows that now work for each, new or joined.
local life, first_look, flow_prefix = ARGV[1], tonumber(ARGV[2]), ARGV[3]
expect(KEYS[1], 'zset')
expect(KEYS[2], 'zset')
local now = now_ms()
local ids = {}
for i = 1, (#KEYS - 2) / 3 do
  local flow, job, join = KEYS[3 * i], KEYS[3 * i + 1], KEYS[3 * i + 2]
  local id, kind, spec, job_id, job_body = unpack(ARGV, 5 * i - 1, 5 * i + 3)
  local under_way = text_at(join)
  if under_way and unfinished(redis.call('HGET', flow_prefix .. under_way, 'state')) then
    ids[i] = under_way
  else
    redis.call('SET', join, id, 'PX', life)
    create_flow({ flow = flow, live = KEYS[2], queue = KEYS[1], job = job }, {
      id = id, kind = kind, spec = spec, join = join, run = '', block = '', job_id = job_id, job_body = job_body,
      now = now, first_look = first_look, life = life,
    })
    ids[i] = id
  end
end
return ids
