-- Prepended to every script. Names in capitals are constants: see constants.py.

-- A number as a string: Lua itself writes large ones as 1e+12.
local function number(value)
  return string.format('%.0f', value)
end

-- The values of a list behind its first `fixed` ones, in groups of `width`: their count, and a function for each group.
local function tail(list, fixed, width)
  return (#list - fixed) / width, function(i)
    local last = fixed + width * i
    return unpack(list, last - width + 1, last)
  end
end

local function now_ms()
  local seconds, microseconds = unpack(redis.call('TIME'))
  return tonumber(seconds) * 1000 + math.floor(tonumber(microseconds) / 1000)
end

-- The string at a key. A key of another type counts as missing: its owner overwrites it.
local function text_at(key)
  local value = redis.pcall('GET', key)
  return type(value) == 'string' and value
end

-- Stops the script before its first write if a key has a type that would stop it later.
local function expect(key, wanted)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then
    error({ err = 'WRONGTYPE ' .. key .. ' holds a ' .. found })
  end
end

local function expect_queue(queue)
  expect(queue, 'zset')
  expect(queue .. LEASES, 'zset')
end

-- The first write of a script that must pass on a full server: only a first write that takes memory is refused. The
-- key never exists, while a member or field of `key` may have been planted. Scripts that begin with a removal of their
-- own do without.
local function delete_first(key)
  redis.call('DEL', key .. ':nothing')
end

-- Adds a dead letter. The caller has checked the key's type and made its first write.
local function add_letter(dead, ...)
  if type(redis.pcall('XADD', dead, 'MAXLEN', '1000', '*', ...)) ~= 'string' then
    -- The greatest possible id was planted: no entry can follow it.
    redis.call('DEL', dead)
    redis.call('XADD', dead, 'MAXLEN', '1000', '*', ...)
  end
end

-- Counts refused bytes, and keeps up to 4 KiB of them as a dead letter. The caller has done the same for both keys.
local function count_refused(counts, dead, of, id, reason, bytes)
  if type(redis.pcall('HINCRBY', counts, of, '1')) ~= 'number' then
    -- A planted value is not a number.
    redis.call('HSET', counts, of, '1')
  end
  add_letter(dead, 'kind', 'refused', 'id', string.sub(id, 1, 1024), 'of', of, 'reason', reason, 'data',
    string.sub(bytes, 1, 4096))
end

-- Whether a flow in this state has not ended.
local function unfinished(state)
  return state == 'split' or state == 'run' or state == 'reduce'
end

-- Whether a run in this state has not ended.
local function under_way(state)
  return state == 'run' or state == 'finish'
end

-- The state of the flow or run at a key, false at a key of another type.
local function state_at(key)
  local state = redis.pcall('HGET', key, 'state')
  return type(state) == 'string' and state
end

-- Whether the caller claims next. Then nobody is woken now: that claim wakes others for the jobs that it leaves.
local claims_next = false

-- Wakes waiting workers to claim from a queue, one for each token, up to 64 before one of them has come.
local function wake(queue, tokens)
  if claims_next then return end
  local list = queue .. WAKE
  local waiting = redis.pcall('LLEN', list)
  if type(waiting) ~= 'number' then
    redis.call('DEL', list)
    waiting = 0
  end
  for _ = 1, math.min(tokens, 64 - waiting) do
    redis.call('RPUSH', list, '1')
  end
end

-- The lanes' queues, checked: call it before the first write.
local function lanes_of(click, batch)
  expect_queue(click)
  expect_queue(batch)
  return { [CLICK] = click, [BATCH] = batch }
end

-- The lanes' sets of unfinished flows and runs, checked: call it before the first write.
local function live_of(stem)
  local sets = { [CLICK] = stem .. ':' .. CLICK, [BATCH] = stem .. ':' .. BATCH }
  expect(sets[CLICK], 'zset')
  expect(sets[BATCH], 'zset')
  return sets
end

-- Takes a member from both lanes' queues or live sets.
local function leave(lanes, member)
  redis.call('ZREM', lanes[CLICK], member)
  redis.call('ZREM', lanes[BATCH], member)
end

-- The lane of a flow. A damaged one counts as the batch lane.
local function lane_of(lane)
  return lane == CLICK and CLICK or BATCH
end

-- Whether a job waits in a lane's queue or is under a lease; and whether it is a member of a queue at all.
local function queued(lanes, id)
  for _, queue in ipairs({ lanes[CLICK], lanes[BATCH] }) do
    local score = redis.call('ZSCORE', queue, id)
    if score then return (tonumber(score) < CLAIMED or redis.call('ZSCORE', queue .. LEASES, id)) and true, true end
  end
  return false, false
end

-- Whether a job with this score waits for its next try.
local function pauses(score)
  return score and tonumber(score) >= PAUSED
end

-- A job's place by its score, claimed or not. An impossible place was planted, and counts as the first.
local function place_of(score)
  local place = tonumber(score) or 0
  if place >= CLAIMED then
    place = place - (pauses(score) and PAUSED or CLAIMED)
  end
  return place >= 0 and place < CLAIMED and place or 0
end

-- Makes a job: its body where arq looks for it, and its id in the lane's queue unless it is queued already.
local function enqueue(lanes, lane, place, job, id, body)
  redis.call('SET', job, body, 'PX', UNFINISHED_TTL_MS)
  local held, member = queued(lanes, id)
  if not held then
    if member then
      -- Claimed without a lease: nobody would ever give it back.
      leave(lanes, id)
    end
    redis.call('ZADD', lanes[lane], number(place_of(place)), id)
    wake(lanes[lane], 1)
  end
end

-- The ids of the jobs that a flow in this state and round can have.
local function jobs_of(id, state, round, planned)
  round = round or ''
  if state == 'split' then return { 'split:' .. id } end
  if state == 'reduce' then return { 'reduce:' .. id .. ':' .. round } end
  local ids = {}
  for index = 0, math.min(tonumber(planned) or 0, MAX_TASKS) - 1 do
    ids[#ids + 1] = 'chunk:' .. id .. ':' .. number(index) .. ':' .. round
  end
  return ids
end

-- Counts a start of a job without a good end.
local function count_try(id)
  if type(redis.pcall('INCR', TRIES .. id)) ~= 'number' then
    redis.call('SET', TRIES .. id, '1')
  end
  redis.call('EXPIRE', TRIES .. id, TRIES_TTL_S)
end

-- Removes ended jobs from their queue, and all that arq has of them but their results. It begins with a removal.
local function finish_jobs(queue, ids)
  local keys = {}
  for i, id in ipairs(ids) do
    keys[3 * i - 2], keys[3 * i - 1], keys[3 * i] = JOB .. id, RUNNING .. id, TRIES .. id
  end
  redis.call('ZREM', queue .. LEASES, unpack(ids))
  redis.call('ZREM', queue, unpack(ids))
  redis.call('DEL', unpack(keys))
  -- Another type may have been planted there; the jobs have ended all the same.
  redis.pcall('ZREM', ABORTED, unpack(ids))
end

-- Removes jobs, also running ones: the holders of their leases learn of it at the next renewal.
local function drop_jobs(lanes, ids)
  for _, id in ipairs(ids) do
    for _, queue in ipairs({ lanes[CLICK], lanes[BATCH] }) do
      redis.call('ZREM', queue, id)
      redis.call('ZREM', queue .. LEASES, id)
    end
    redis.call('DEL', JOB .. id, RUNNING .. id, TRIES .. id)
  end
end

-- Writes a new flow in state split with its job and its live entry.
local function create_flow(keys, fields)
  local now, place = number(fields.now), number(fields.now + (fields.delay or 0))
  -- Its id is fresh: a value at its key was planted.
  redis.call('DEL', keys.flow)
  redis.call('HSET', keys.flow, 'kind', fields.kind, 'state', 'split', 'round', '0', 'place', place, 'created', now,
    'looks', '0', 'rework', '0', 'planned', '0', 'spec', fields.spec, 'join', fields.join,
    'run', fields.run, 'block', fields.block, 'lane', fields.lane)
  if (fields.traceparent or '') ~= '' then
    redis.call('HSET', keys.flow, 'traceparent', fields.traceparent)
  end
  redis.call('PEXPIRE', keys.flow, UNFINISHED_TTL_MS)
  redis.call('ZADD', keys.live[fields.lane], number(fields.now + fields.first_look), 'flow:' .. fields.id)
  enqueue(keys.lanes, fields.lane, place, keys.job, fields.job_id, fields.job_body)
end

-- Moves an unfinished flow of the batch lane to the click lane, and starts a flow of the click lane that waits for its
-- time: its unclaimed jobs and its live entry change lanes.
local function raise(lanes, live, flow, id)
  local state, round, planned, flow_lane = unpack(redis.call('HMGET', flow, 'state', 'round', 'planned', 'lane'))
  if lane_of(flow_lane) == CLICK then
    local job = 'split:' .. id
    local score = state == 'split' and redis.call('ZSCORE', lanes[CLICK], job)
    local now = now_ms()
    if score and tonumber(score) > now and tonumber(score) < CLAIMED then
      redis.call('ZADD', lanes[CLICK], number(now), job)
      wake(lanes[CLICK], 1)
    end
    return
  end
  redis.call('HSET', flow, 'lane', CLICK)
  local look = redis.call('ZSCORE', live[BATCH], 'flow:' .. id)
  if look then
    redis.call('ZREM', live[BATCH], 'flow:' .. id)
    redis.call('ZADD', live[CLICK], look, 'flow:' .. id)
  end
  for _, job in ipairs(jobs_of(id, state, round, planned)) do
    local batch, click = lanes[BATCH], lanes[CLICK]
    local score = redis.call('ZSCORE', batch, job)
    local paused = pauses(score) and redis.call('ZSCORE', batch .. LEASES, job)
    if score and tonumber(score) < CLAIMED or paused then
      redis.call('ZREM', batch, job)
      redis.call('ZADD', click, score, job)
      wake(click, 1)
    end
    if paused then
      redis.call('ZREM', batch .. LEASES, job)
      redis.call('ZADD', click .. LEASES, paused, job)
    end
  end
end

-- Writes the flow of a run's block.
local function create_block_flow(keys, fields)
  fields.kind, fields.lane, fields.join = 'block', BATCH, ''
  create_flow(keys, fields)
  redis.call('HSET', keys.flight, fields.block, fields.id)
  redis.call('PEXPIRE', keys.flight, UNFINISHED_TTL_MS)
end

-- How many blocks of a run may be in flight: its window, or as many as the live workers, of so many threads each, hold
-- without one.
local function window_of(window, workers, threads, now)
  local limit = tonumber(window)
  -- NaN, infinity and what is below 1 were planted.
  if limit and limit >= 1 and limit < math.huge then return limit end
  -- Another type, or a beat in the future, was planted.
  local live = redis.pcall('ZCOUNT', workers, number(now - BEAT_WITHIN_MS), number(now + BEAT_WITHIN_MS))
  return math.max(type(live) == 'number' and BLOCKS_PER_THREAD * threads * live or 0, LEAST_WINDOW)
end

-- Makes the flow of a run's next block. Answers false when no block is left, when the window is full, and for a damaged
-- run, which the sweeper ends.
local function create_next_block(keys, fields)
  local state, following, blocks, spec, window =
    unpack(redis.call('HMGET', keys.run, 'state', 'next', 'blocks', 'spec', 'window'))
  local index, count = tonumber(following), tonumber(blocks)
  if state ~= 'run' or not index or not count or index >= count or not spec then return false end
  -- A block that is done again exceeds the window: the next block to end has no successor.
  if redis.call('HLEN', keys.flight) >= window_of(window, keys.workers, fields.threads, fields.now) then return false end
  fields.spec, fields.block = spec, following
  create_block_flow(keys, fields)
  redis.call('HSET', keys.run, 'next', number(index + 1))
  return true
end

-- Renews the life of a generation's record. A record that a pointer names has none.
local function renew_record(key)
  if redis.call('PTTL', key) >= 0 then
    redis.call('PEXPIRE', key, UNFINISHED_TTL_MS)
  end
end

-- The snapshot that a generation's record names, or false without a record at its key.
local function snapshot_of(record_key)
  local record = text_at(record_key)
  local whole, value = pcall(cjson.decode, record or '')
  local snapshot = whole and type(value) == 'table' and value.snapshot
  return type(snapshot) == 'string' and snapshot
end

-- Writes the record of a generation, unless it has one: a record never changes.
local function keep_record(key, record)
  if not snapshot_of(key) then
    redis.call('SET', key, record, 'PX', UNREFERENCED_TTL_MS)
  end
end

-- The generation that a pointer names, or false: an invalid id counts as none, and so does one without its record.
-- Python sets unreadable records aside before it calls: see `Results.follow`.
local function generation_at(key, record_stem)
  local name = text_at(key)
  return name and #name <= 64 and string.find(name, '^[%w_-]+$') and snapshot_of(record_stem .. name) and name
end

-- Sets the pointers `keys` to `values` ('' leaves one as it is). Records, and the hashes of snapshots, that pointers
-- name lose their expiry; those that they no longer name get one.
-- `stems` are the prefixes of the keys of such hashes.
local function repoint(keys, values, record_stem, stems)
  local named, kept, dropped = {}, {}, {}
  for i, key in ipairs(keys) do
    local before = generation_at(key, record_stem)
    local after = values[i] ~= '' and values[i] or before
    if after then
      named[after] = snapshot_of(record_stem .. after)
      kept[named[after] or ''] = true
    end
    if before then
      dropped[before] = snapshot_of(record_stem .. before)
    end
  end
  for i, key in ipairs(keys) do
    if values[i] ~= '' then
      redis.call('SET', key, values[i])
    end
  end
  for generation, snapshot in pairs(named) do
    redis.call('PERSIST', record_stem .. generation)
    if snapshot then
      for _, stem in ipairs(stems) do
        redis.call('PERSIST', stem .. snapshot)
      end
    end
  end
  for generation, snapshot in pairs(dropped) do
    if named[generation] == nil then
      redis.call('PEXPIRE', record_stem .. generation, UNREFERENCED_TTL_MS)
      if snapshot and not kept[snapshot] then
        for _, stem in ipairs(stems) do
          redis.call('PEXPIRE', stem .. snapshot, UNREFERENCED_TTL_MS)
        end
      end
    end
  end
end

-- The time of an id of a stream in microseconds.
local function time_of(id)
  return tonumber(string.match(id, '^%d+')) * 1000
end

-- The id of the last event that was recorded, also if the stream has lost it. The caller has checked the type.
local function last_id(stream)
  local info = redis.pcall('XINFO', 'STREAM', stream)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      return info[i + 1]
    end
  end
  return '0-0'
end

-- Whether an id of the stream, or an entry that begins with one, comes after a mark. An unreadable one was planted, and
-- does not.
local function is_after(entry, mark)
  local ms, sequence = string.match(entry, '^(%d+)%-(%d+)')
  local mark_ms, mark_sequence = string.match(mark, '^(%d+)%-(%d+)')
  ms, sequence, mark_ms, mark_sequence = tonumber(ms), tonumber(sequence), tonumber(mark_ms), tonumber(mark_sequence)
  return ms and (not mark_ms or ms > mark_ms or ms == mark_ms and sequence > mark_sequence)
end

-- Now in microseconds, but not before the last event: the clock may have been set back. The caller has checked the type.
local function now_after(stream)
  local seconds, microseconds = unpack(redis.call('TIME'))
  return math.max(tonumber(seconds) * 1e6 + tonumber(microseconds), time_of(last_id(stream)))
end

-- Notes that what is known of a user beside a snapshot has changed at a time in microseconds. The caller has checked
-- both types. Answers the user's version: that time, or just after the version before.
local function note_recent(recents, versions, user, at)
  local before = tonumber(redis.call('HGET', versions, user) or 0)
  -- A value that is no such number was planted.
  local version = number(before and before < 2 ^ 53 and math.max(at, before + 1) or at)
  redis.call('ZADD', recents, 0, user)
  redis.call('HSET', versions, user, version)
  return version
end

-- Gives the hidden items another version, and notes the items that have changed with the times until which they are
-- hidden ('' for one that is shown again), under ids that begin with the version. An item '' stands for none.
local function note_hidden(version, changes, items, untils)
  local at = redis.pcall('INCR', version)
  if type(at) ~= 'number' then
    -- A planted value is not a number.
    at = now_ms()
    redis.call('SET', version, number(at))
  end
  for i, item in ipairs(items) do
    local id = number(at) .. '-' .. number(i)
    if type(redis.pcall('XADD', changes, 'MAXLEN', '~', MOST_CHANGES, id, item, untils[i])) ~= 'string' then
      -- Another value was planted, or an earlier version: readers read all hidden items.
      redis.call('DEL', changes)
      break
    end
  end
end

-- The JSON string of an item, followed by a comma and a line's end, as in what a user's lists leave out.
local function left_line(text)
  return text .. ',\n'
end

-- Writes what a user's lists leave out again: the items of the events with such a role, and those that the user hides.
local function rewrite_left(left, recent, hides)
  local lines = {}
  for _, entry in ipairs(redis.call('LRANGE', recent, 0, -1)) do
    local whole, event = pcall(cjson.decode, string.match(entry, ' (.*)') or '')
    if whole and type(event) == 'table' and type(event[1]) == 'string' and event[2] ~= 'signal' then
      lines[#lines + 1] = left_line(cjson.encode(event[1]))
    end
  end
  for _, item in ipairs(redis.call('SMEMBERS', hides)) do
    lines[#lines + 1] = left_line(cjson.encode(item))
  end
  if #lines > 0 then
    redis.call('SET', left, table.concat(lines))
  else
    redis.call('DEL', left)
  end
end
