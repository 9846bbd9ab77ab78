-- Claims jobs for the free slots of one worker, the first lane's first, by the server's clock. Before that, it returns
-- jobs whose pause is over or whose lease has lapsed to their places. No lease lapses while the server is away.
-- KEYS  workers: the set of beats, or any other key without them; then the lanes' queues
-- ARGV  lease ms; room: how many jobs at most; alone: '1' when the worker runs nothing; flow_stem: the prefix of flow
--       keys, '' without flows; for each lane: how many jobs at most, '1' when it is shared
-- Answers the ms until the next known job is due or the next lease lapses ('' never); the number of lapsed leases; the
-- lane, from 1, in which a suspect waits for an idle worker ('' none); and for each job: lane from 1, id, place, tries,
-- body, and the hash that it reads first (false: it reads by itself, as all jobs of shared lanes do).
-- From a shared lane a worker claims only its share of the due jobs: a few jobs spread over the waiting workers. A
-- suspect is a job that was tried before. It may have killed its worker, so it is claimed alone. Afterwards the wake
-- list holds a token exactly if a job is due: no worker is woken for nothing, and none sleeps beside a due job.
local workers = unpack(KEYS, 1, 1)
local queues = { unpack(KEYS, 2) }
local token, lease, room, alone, flow_stem = unpack(ARGV, 1, 5)
local _, limits_of = tail(ARGV, 5, 2)

lease, room, alone = tonumber(lease), tonumber(room), alone == '1'
local LAPSES, LOOK = 100, 2000
local now = now_ms()
local next_at, lapses, suspects, jobs = math.huge, 0, '', {}

-- Whether the server was away within a lease, so that nobody could renew.
local function was_away()
  local info = redis.pcall('INFO', 'server')
  local up = type(info) == 'string' and tonumber(string.match(info, 'uptime_in_seconds:(%d+)') or '')
  return up and up * 1000 < lease
end

local function lapse(queue)
  local leases = queue .. LEASES
  local late = redis.call('ZRANGEBYSCORE', leases, '-inf', number(now), 'LIMIT', 0, LAPSES)
  local away = #late > 0 and was_away()
  for _, id in ipairs(late) do
    local score = redis.call('ZSCORE', queue, id)
    local held = score and not pauses(score)
    if held and away then
      -- Its holder renews it as soon as it is back.
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

-- The end of the first lease, if that is a pause.
local function first_pause(queue)
  local first = redis.call('ZRANGE', queue .. LEASES, 0, 0, 'WITHSCORES')
  return first[1] and pauses(redis.call('ZSCORE', queue, first[1])) and tonumber(first[2]) or math.huge
end

-- How many workers have beaten within a lease. A beat in the future does not count.
local function beating()
  local count = redis.pcall('ZCOUNT', workers, number(now - lease), number(now + lease))
  return type(count) == 'number' and math.max(count, 1) or 1
end

local function later(moment)
  next_at = math.min(next_at, tonumber(moment or '') or math.huge)
end

-- The due jobs of a queue for this worker; whether they are a suspect; whether some are left for others.
local function choose(queue, leases, lane, most, shared)
  local due = redis.call('ZCOUNT', queue, '-inf', number(now))
  local count = math.min(most, shared and due > 0 and math.ceil(due / beating()) or due)
  if count <= 0 then return {}, false, due > 0 end
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
      -- A client of arq's that aborts a job puts it first, while its worker still holds it.
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
  -- Nobody is woken for suspects alone: busy workers cannot have them, and would come again and again.
  return chosen, false, due > #chosen + passed
end

-- What a flow's split or reduce reads first: its flow, or its partials.
local function prefetch(id)
  local task, flow = string.match(id, '^(%a+):([^:]+)')
  local suffix = ({ split = '', reduce = ':partials' })[task or '']
  local hash = flow_stem ~= '' and suffix and redis.pcall('HGETALL', flow_stem .. flow .. suffix)
  return hash and not hash.err and hash or false
end

local function claim_from(lane, queue)
  local most, shared = limits_of(lane)
  local leases, paused = queue .. LEASES, redis.call('EXISTS', queue .. PAUSE) == 1
  delete_first(queue)
  lapse(queue)
  most = math.min(tonumber(most), room)
  local chosen, suspect, left = {}, false, false
  if not paused then
    chosen, suspect, left = choose(queue, leases, lane, most, shared == '1')
    local after, below = '(' .. number(now), '(' .. number(CLAIMED)
    local soon = redis.call('ZRANGEBYSCORE', queue, after, below, 'WITHSCORES', 'LIMIT', 0, 1)[2]
    later(soon)
    if #chosen >= most then
      -- A full worker does not look when it is due, and the waiting ones do not know of it.
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
      redis.call('SET', RUNNING .. job.id, token, 'EX', TRIES_TTL_S)
      local at = #jobs
      jobs[at + 1], jobs[at + 2], jobs[at + 3] = lane, job.id, number(job.place)
      jobs[at + 4], jobs[at + 5], jobs[at + 6] = job.tries, body, shared ~= '1' and prefetch(job.id)
    end
    room = suspect and 0 or room - #chosen
  end
  if left then
    local tokens = redis.pcall('LLEN', queue .. WAKE)
    if type(tokens) ~= 'number' or tokens == 0 then
      wake(queue, 1)
    end
  elseif not paused then
    redis.call('DEL', queue .. WAKE)
  end
  later(redis.call('ZRANGE', leases, 0, 0, 'WITHSCORES')[2])
end

for _, queue in ipairs(queues) do
  expect_queue(queue)
end
for lane, queue in ipairs(queues) do
  -- An empty lane has nothing to claim, and no lease that could lapse.
  if redis.call('EXISTS', queue, queue .. LEASES, queue .. WAKE) > 0 then
    claim_from(lane, queue)
  end
end
return { next_at < math.huge and number(math.max(next_at - now, 0)) or '', lapses, suspects, unpack(jobs) }
