-- Goes before every script. Redis numbers leave a script through format, since Lua would write large ones as 1e+12.

local function number(value)
  return string.format('%.0f', value)
end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- The string at a key; a key of another type is as good as none, since whoever owns it writes over it.
local function text_at(key)
  local value = redis.pcall('GET', key)
  return type(value) == 'string' and value
end

-- Stops a script that would meet another type later, after its first write, as the server would stop it there.
local function expect(key, wanted)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then
    error({ err = 'WRONGTYPE ' .. key .. ' holds a ' .. found })
  end
end

-- Whether a flow in this state has not ended.
local function unfinished(state)
  return state == 'split' or state == 'run' or state == 'reduce'
end

-- Makes a job: its body where arq looks for it, and its id in the queue unless it is there already.
local function enqueue(queue, place, job, id, body, life)
  redis.call('SET', job, body, 'PX', life)
  redis.call('ZADD', queue, 'NX', place, id)
end

-- Writes a new flow in state split together with its job and its entry among the live ones.
local function create_flow(keys, fields)
  local now = number(fields.now)
  redis.call('HSET', keys.flow, 'kind', fields.kind, 'state', 'split', 'round', '0', 'place', now, 'created', now,
    'looks', '0', 'rework', '0', 'planned', '0', 'spec', fields.spec, 'join', fields.join,
    'run', fields.run, 'block', fields.block)
  redis.call('PEXPIRE', keys.flow, fields.life)
  redis.call('ZADD', keys.live, number(fields.now + fields.first_look), 'flow:' .. fields.id)
  enqueue(keys.queue, now, keys.job, fields.job_id, fields.job_body, fields.life)
end

-- Makes the flow of a run's next block; answers false when all blocks are out, or as many as may be at a time.
local function create_block(keys, fields)
  local run = redis.call('HMGET', keys.run, 'state', 'next', 'blocks', 'spec', 'window')
  if run[1] ~= 'run' or tonumber(run[2]) >= tonumber(run[3]) then
    return false
  end
  -- A block that is done again is one more than the window, and the next to end has none that follows.
  if redis.call('HLEN', keys.flight) >= math.max(tonumber(run[5]) or 1, 1) then
    return false
  end
  fields.kind, fields.spec, fields.block, fields.join = 'block', run[4], run[2], ''
  create_flow(keys, fields)
  redis.call('HSET', keys.flight, run[2], fields.id)
  redis.call('PEXPIRE', keys.flight, fields.life)
  redis.call('HSET', keys.run, 'next', number(tonumber(run[2]) + 1))
  return true
end

-- Renews the life of a generation's record that has one; what a pointer names has none.
local function renew_record(key, life)
  if redis.call('PTTL', key) >= 0 then
    redis.call('PEXPIRE', key, life)
  end
end

-- The snapshot that a generation's record names, or false.
local function snapshot_of(record_prefix, generation)
  local record = redis.call('GET', record_prefix .. generation)
  if not record then
    return false
  end
  local whole, value = pcall(cjson.decode, record)
  return whole and type(value) == 'table' and value.snapshot or false
end

-- Sets the pointers `keys` to `values` ('' leaves one as it is). What pointers name loses its expiry; what they have
-- ceased to name gets one.
local function repoint(keys, values, record_prefix, titles_prefix, life)
  local named, kept, dropped = {}, {}, {}
  for i, key in ipairs(keys) do
    local before = redis.call('GET', key)
    local after = values[i] ~= '' and values[i] or before
    if after then
      named[after] = snapshot_of(record_prefix, after)
      kept[named[after] or ''] = true
    end
    if before then
      dropped[before] = snapshot_of(record_prefix, before)
    end
  end
  for i, key in ipairs(keys) do
    if values[i] ~= '' then
      redis.call('SET', key, values[i])
    end
  end
  for generation, snapshot in pairs(named) do
    redis.call('PERSIST', record_prefix .. generation)
    if snapshot then
      redis.call('PERSIST', titles_prefix .. snapshot)
    end
  end
  for generation, snapshot in pairs(dropped) do
    if named[generation] == nil then
      redis.call('PEXPIRE', record_prefix .. generation, life)
      if snapshot and not kept[snapshot] then
        redis.call('PEXPIRE', titles_prefix .. snapshot, life)
      end
    end
  end
end
