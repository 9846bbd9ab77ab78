-- Claims jobs for the free slots of one worker, the first lane's first, by the server's clock; jobs whose pause is over
-- or whose lease has lapsed go back to their places before, the latter unless it was the server that was away.
-- KEYS  workers (any other key where nobody beats); for each lane: queue
-- ARGV  token, lease ms, how many at most, '1' when the worker runs nothing; for each lane: how many at most, '1' when
--       it is shared
-- Answers in how many ms something that is known of now will be due or its lease lapsed ('' never); how many leases had
-- lapsed; in which lane a suspect waits for a worker that runs nothing, from 1, '' when none does; and for each job:
-- lane from 1, id, place, tries, body.
-- Of a shared lane a worker takes no more than its part of what is due, so that a few jobs are spread over the workers
-- that wait. A job that was tried before may have ended its worker: it is claimed alone. Lists of tokens are left empty
-- where nothing is due, and else not, so that no worker comes for nothing and none waits beside what is due.
local token, lease, room, alone = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local LAPSES, LOOK = 100, 2000
local now = now_ms()
local next_at, lapses, suspects, jobs = math.huge, 0, '', {}

-- Whether the server was away a moment ago, and could not hear of those that hold leases.
local function was_away()
  local told = redis.pcall('INFO', 'server')
  local up = type(told) == 'string' and tonumber(string.match(told, 'uptime_in_seconds:(%d+)') or '')
  return up and up * 1000 < lease
end

local function lapse(queue)
  local leases = queue .. ':leases'
  local late = redis.call('ZRANGEBYSCORE', leases, '-inf', number(now), 'LIMIT', 0, LAPSES)
  local away = #late > 0 and was_away()
  for _, id in ipairs(late) do
    local score = redis.call('ZSCORE', queue, id)
    local held = score and not pauses(score)
    if held and away then
      -- They hold on as soon as they are back; it is no fault of theirs.
      redis.call('ZADD', leases, 'XX', number(now + lease), id)
    else
      redis.call('ZREM', leases, id)
      redis.call('ZADD', queue, 'XX', number(place_of(score)), id)
    end
    if held and not away then
      redis.call('DEL', RUNNING .. id)
      count_try(id)
      lapses = lapses + 1
    end
  end
end

-- When the first lease ends, if it is a pause.
local function first_pause(queue)
  local first = redis.call('ZRANGE', queue .. ':leases', 0, 0, 'WITHSCORES')
  return first[1] and pauses(redis.call('ZSCORE', queue, first[1])) and tonumber(first[2]) or math.huge
end

-- How many workers are heard of; who is silent for a lease is gone, and a beat of the future is none.
local function workers()
  local heard = redis.pcall('ZCOUNT', KEYS[1], number(now - lease), number(now + lease))
  return type(heard) == 'number' and math.max(heard, 1) or 1
end

local function later(moment)
  next_at = math.min(next_at, tonumber(moment or '') or math.huge)
end

-- Of what is due at the head of a queue, what this worker is to have; and whether some of it is left for others.
local function choose(queue, leases, lane, most, shared)
  local due = redis.call('ZCOUNT', queue, '-inf', number(now))
  local count = math.min(most, shared and due > 0 and math.ceil(due / workers()) or due)
  if count <= 0 then
    return {}, false, due > 0
  end
  local page = redis.call('ZRANGEBYSCORE', queue, '-inf', number(now), 'WITHSCORES', 'LIMIT', 0, count)
  local ids, keys = {}, {}
  for i = 1, #page, 2 do
    ids[#ids + 1], keys[#keys + 1] = page[i], TRIES .. page[i]
  end
  local tries, held = redis.call('MGET', unpack(keys)), redis.call('ZMSCORE', leases, unpack(ids))
  local chosen, passed = {}, 0
  for i, id in ipairs(ids) do
    local tried, place = tonumber(tries[i] or '0') or 0, place_of(page[2 * i])
    if held[i] and text_at(RUNNING .. id) then
      -- A client of arq's that wants it to end has put it first, and its worker holds it still.
      redis.call('ZADD', queue, 'XX', number(place + CLAIMED), id)
      passed = passed + 1
    elseif tried == 0 then
      chosen[#chosen + 1] = { id = id, place = place, tries = 0 }
    elseif alone and #jobs == 0 and #chosen == 0 then
      return { { id = id, place = place, tries = tried } }, true, due > 1 + passed
    else
      suspects, passed = number(lane), passed + 1
    end
  end
  -- Whoever runs something cannot have the suspects either: woken for them alone, workers would come again and again.
  return chosen, false, due > #chosen + passed
end

local function claim_from(lane, queue)
  local leases, paused = queue .. ':leases', redis.call('EXISTS', queue .. ':paused') == 1
  removal_first(queue)
  lapse(queue)
  local most = math.min(tonumber(ARGV[2 * lane + 1]), room)
  local chosen, suspect, left = {}, false, false
  if not paused then
    chosen, suspect, left = choose(queue, leases, lane - 1, most, ARGV[2 * lane + 2] == '1')
    local after, below = '(' .. number(now), '(' .. number(CLAIMED)
    local soon = redis.call('ZRANGEBYSCORE', queue, after, below, 'WITHSCORES', 'LIMIT', 0, 1)[2]
    later(soon)
    if #chosen >= most then
      -- Whoever is full does not look when it is due, and those that wait do not know of it.
      left = left or math.min(tonumber(soon) or math.huge, first_pause(queue)) < now + LOOK
    end
  end
  if #chosen > 0 then
    local bodies, members, deadlines = {}, {}, {}
    for i, job in ipairs(chosen) do
      bodies[i] = JOB .. job.id
      members[2 * i - 1], members[2 * i] = number(job.place + CLAIMED), job.id
      deadlines[2 * i - 1], deadlines[2 * i] = number(now + lease), job.id
    end
    redis.call('ZADD', queue, 'XX', unpack(members))
    redis.call('ZADD', leases, unpack(deadlines))
    for i, body in ipairs(redis.call('MGET', unpack(bodies))) do
      local job = chosen[i]
      redis.call('SET', RUNNING .. job.id, token, 'EX', TRIES_LIFE)
      local at = #jobs
      jobs[at + 1], jobs[at + 2], jobs[at + 3] = lane - 1, job.id, number(job.place)
      jobs[at + 4], jobs[at + 5] = job.tries, body
    end
    room = suspect and 0 or room - #chosen
  end
  if left then
    local tokens = redis.pcall('LLEN', queue .. ':wake')
    if type(tokens) ~= 'number' or tokens == 0 then
      wake(queue, 1)
    end
  elseif not paused then
    redis.call('DEL', queue .. ':wake')
  end
  later(redis.call('ZRANGE', leases, 0, 0, 'WITHSCORES')[2])
end

for lane = 2, #KEYS do
  expect(KEYS[lane], 'zset')
  expect(KEYS[lane] .. ':leases', 'zset')
end
for lane = 2, #KEYS do
  -- Of an empty lane there is nothing to know.
  if redis.call('EXISTS', KEYS[lane], KEYS[lane] .. ':leases', KEYS[lane] .. ':wake') > 0 then
    claim_from(lane, KEYS[lane])
  end
end
return { next_at < math.huge and number(math.max(next_at - now, 0)) or '', lapses, suspects, unpack(jobs) }
