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

-- The first write of a script that a full Redis is not to stop: it refuses one whose first write takes memory, and lets
-- go on what has begun. Nothing is ever at that key, where a member or a field of `key` may be one that was planted.
local function removal_first(key)
  redis.call('DEL', key .. ':nothing')
end

-- Adds a dead letter; the script has to have written before, and to have checked the type of the key.
local function add_letter(dead, ...)
  if type(redis.pcall('XADD', dead, 'MAXLEN', '1000', '*', ...)) ~= 'string' then
    -- Somebody has planted the last id that there is, and none could ever follow it.
    redis.call('DEL', dead)
    redis.call('XADD', dead, 'MAXLEN', '1000', '*', ...)
  end
end

-- Counts bytes that were refused, and keeps up to 4 KiB of them with the dead letters; the same has to hold.
local function count_refused(counts, dead, of, id, reason, bytes)
  if type(redis.pcall('HINCRBY', counts, of, '1')) ~= 'number' then
    -- What was planted there is no number.
    redis.call('HSET', counts, of, '1')
  end
  add_letter(dead, 'kind', 'refused', 'id', string.sub(id, 1, 1024), 'of', of, 'reason', reason, 'data',
    string.sub(bytes, 1, 4096))
end

-- Whether a flow in this state has not ended.
local function unfinished(state)
  return state == 'split' or state == 'run' or state == 'reduce'
end

-- The state of the flow or run at a key; a key of another type holds none.
local function state_at(key)
  local state = redis.pcall('HGET', key, 'state')
  return type(state) == 'string' and state
end

-- Where arq keeps what it has of a job.
local JOB, RUNNING, TRIES, RESULT, ABORTED = 'arq:job:', 'arq:in-progress:', 'arq:retry:', 'arq:result:', 'arq:abort'
local TRIES_LIFE = '88400'
-- A claimed job's score is its place plus this: out of the queue's head, still a member, its place never lost.
local CLAIMED = 100000000000000
-- That of a job that is to come again after a pause: it has a lease too, until when it pauses, that nobody holds.
local PAUSED = 2 * CLAIMED
-- As many workers as can be woken before one of them has come to claim.
local MOST_TOKENS = 64

-- Whether who calls claims next, and so need not be told of what is new; that claim wakes others for what it leaves.
local claims_next = false

-- Lets workers that wait for jobs of a queue come and claim, one for each token.
local function wake(queue, tokens)
  if claims_next then
    return
  end
  local list = queue .. ':wake'
  local waiting = redis.pcall('LLEN', list)
  if type(waiting) ~= 'number' then
    redis.call('DEL', list)
    waiting = 0
  end
  for _ = 1, math.min(tokens, MOST_TOKENS - waiting) do
    redis.call('RPUSH', list, '1')
  end
end

-- The lanes' queues. Call this before the first write of a script, which would stop there if one of them were no queue.
local function lanes_of(click, batch)
  for _, queue in ipairs({ click, batch }) do
    expect(queue, 'zset')
    expect(queue .. ':leases', 'zset')
  end
  return { click = click, batch = batch }
end

-- The lanes' sets of unfinished flows and runs, by what their names start with; call this too before the first write.
local function live_of(live)
  local sets = { click = live .. ':click', batch = live .. ':batch' }
  expect(sets.click, 'zset')
  expect(sets.batch, 'zset')
  return sets
end

-- Takes a flow or run from the unfinished ones, in whichever lane it is.
local function leave_live(live, member)
  redis.call('ZREM', live.click, member)
  redis.call('ZREM', live.batch, member)
end

-- The lane of a flow; what is no lane is damage, and counts as the one that waits longer.
local function lane_of(lane)
  return lane == 'click' and 'click' or 'batch'
end

-- Whether a job is a member of a lane's queue, and waits at its place or is under a lease; and whether it is one at all.
local function queued(lanes, id)
  for _, lane in ipairs({ 'click', 'batch' }) do
    local score = redis.call('ZSCORE', lanes[lane], id)
    if score then
      return (tonumber(score) < CLAIMED or redis.call('ZSCORE', lanes[lane] .. ':leases', id)) and true, true
    end
  end
  return false, false
end

-- Whether a job with this score pauses.
local function pauses(score)
  return score and tonumber(score) >= PAUSED
end

-- A job's place by its score, claimed or not; what no place can be, which somebody has planted, is the first one.
local function place_of(score)
  local place = tonumber(score) or 0
  if place >= CLAIMED then
    place = place - (pauses(score) and PAUSED or CLAIMED)
  end
  return place >= 0 and place < CLAIMED and place or 0
end

-- Makes a job: its body where arq looks for it, and its id in the lane's queue unless it is queued already.
local function enqueue(lanes, lane, place, job, id, body, life)
  redis.call('SET', job, body, 'PX', life)
  local held, member = queued(lanes, id)
  if not held then
    if member then
      -- One whose lease is gone is claimed by nobody and would be for ever.
      redis.call('ZREM', lanes.click, id)
      redis.call('ZREM', lanes.batch, id)
    end
    redis.call('ZADD', lanes[lane], number(place_of(place)), id)
    wake(lanes[lane], 1)
  end
end

-- The ids of the jobs that a flow may have in this state and round, each of which may be lost.
local function jobs_of(id, state, round, planned)
  round = round or ''
  if state == 'split' then
    return { 'split:' .. id }
  end
  if state == 'reduce' then
    return { 'reduce:' .. id .. ':' .. round }
  end
  local ids = {}
  for index = 0, math.min(tonumber(planned) or 0, 500) - 1 do
    ids[#ids + 1] = 'chunk:' .. id .. ':' .. number(index) .. ':' .. round
  end
  return ids
end

-- Counts a start of a job that had no good end.
local function count_try(id)
  if type(redis.pcall('INCR', TRIES .. id)) ~= 'number' then
    redis.call('SET', TRIES .. id, '1')
  end
  redis.call('EXPIRE', TRIES .. id, TRIES_LIFE)
end

-- Removes jobs that have ended from their queue, with all that arq has of them but their results.
local function finish_jobs(queue, ids)
  local keys = {}
  for i, id in ipairs(ids) do
    keys[3 * i - 2], keys[3 * i - 1], keys[3 * i] = JOB .. id, RUNNING .. id, TRIES .. id
  end
  redis.call('ZREM', queue .. ':leases', unpack(ids))
  redis.call('ZREM', queue, unpack(ids))
  redis.call('DEL', unpack(keys))
  -- Anybody may write there, and what has ended has ended.
  redis.pcall('ZREM', ABORTED, unpack(ids))
end

-- Takes jobs away, also those that run: whoever holds their leases is told at the next renewal.
local function drop_jobs(lanes, ids)
  for _, id in ipairs(ids) do
    for _, queue in ipairs({ lanes.click, lanes.batch }) do
      redis.call('ZREM', queue, id)
      redis.call('ZREM', queue .. ':leases', id)
    end
    redis.call('DEL', JOB .. id, RUNNING .. id, TRIES .. id)
  end
end

-- Writes a new flow in state split together with its job and its entry among the live ones.
local function create_flow(keys, fields)
  local now = number(fields.now)
  -- Its id is fresh, so whatever is there was planted.
  redis.call('DEL', keys.flow)
  redis.call('HSET', keys.flow, 'kind', fields.kind, 'state', 'split', 'round', '0', 'place', now, 'created', now,
    'looks', '0', 'rework', '0', 'planned', '0', 'spec', fields.spec, 'join', fields.join,
    'run', fields.run, 'block', fields.block, 'lane', fields.lane)
  redis.call('PEXPIRE', keys.flow, fields.life)
  redis.call('ZADD', keys.live[fields.lane], number(fields.now + fields.first_look), 'flow:' .. fields.id)
  enqueue(keys.lanes, fields.lane, now, keys.job, fields.job_id, fields.job_body, fields.life)
end

-- Makes the flow of a run's next block; answers false when all blocks are out, or as many as may be at a time, or when the
-- run cannot be read, which the sweeper ends.
local function create_block(keys, fields)
  local run = redis.call('HMGET', keys.run, 'state', 'next', 'blocks', 'spec', 'window')
  local following, blocks = tonumber(run[2]), tonumber(run[3])
  if run[1] ~= 'run' or not following or not blocks or following >= blocks or not run[4] then
    return false
  end
  -- A block that is done again is one more than the window, and the next to end has none that follows.
  if redis.call('HLEN', keys.flight) >= math.max(tonumber(run[5]) or 1, 1) then
    return false
  end
  fields.kind, fields.lane, fields.spec, fields.block, fields.join = 'block', 'batch', run[4], run[2], ''
  create_flow(keys, fields)
  redis.call('HSET', keys.flight, run[2], fields.id)
  redis.call('PEXPIRE', keys.flight, fields.life)
  redis.call('HSET', keys.run, 'next', number(following + 1))
  return true
end

-- Renews the life of a generation's record that has one; what a pointer names has none.
local function renew_record(key, life)
  if redis.call('PTTL', key) >= 0 then
    redis.call('PEXPIRE', key, life)
  end
end

-- The snapshot that the record of a generation names, or false where no record is at its key.
local function snapshot_of(record_key)
  local record = text_at(record_key)
  local whole, value = pcall(cjson.decode, record or '')
  local snapshot = whole and type(value) == 'table' and value.snapshot
  return type(snapshot) == 'string' and snapshot
end

-- Writes the record of a generation that has none; one that is there stays as it was first made.
local function keep_record(key, record, life)
  if not snapshot_of(key) then
    redis.call('SET', key, record, 'PX', life)
  end
end

-- The generation that a pointer names, or false: what is no id counts as none, and so does one whose record is gone.
-- Python says which records can be read, and sets the others aside before it calls: see `Results.follow`.
local function generation_at(key, record_prefix)
  local name = text_at(key)
  return name and #name <= 64 and string.find(name, '^[%w_-]+$') and snapshot_of(record_prefix .. name) and name
end

-- Sets the pointers `keys` to `values` ('' leaves one as it is). What pointers name loses its expiry; what they have
-- ceased to name gets one.
local function repoint(keys, values, record_prefix, titles_prefix, life)
  local named, kept, dropped = {}, {}, {}
  for i, key in ipairs(keys) do
    local before = generation_at(key, record_prefix)
    local after = values[i] ~= '' and values[i] or before
    if after then
      named[after] = snapshot_of(record_prefix .. after)
      kept[named[after] or ''] = true
    end
    if before then
      dropped[before] = snapshot_of(record_prefix .. before)
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
