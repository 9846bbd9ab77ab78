-- Records events: each goes to the stream and to its user's recent history, and each user's list is computed again.
-- KEYS  live_stem is the prefix of the live sets; for each user: recent, left, refreshed, join, flow, job; for each
--       event: the mark of its id, any key for none
-- ARGV  generation: whose lists are computed again ('' none); most_events the stream may hold; most_queued jobs the click
--       lane may hold ('' any number), above which the lists become stale; flow_stem is the prefix of the keys of
--       flows; users: how many; traceparent is the caller's trace context ('' none); for each user: name, flow id, spec, job id, job body; for each event:
--       its user from 1, '1' if it has an id, the event as JSON, whose time may be null for now, the JSON string of the item if it
--       is left out from now on, or ''
-- Answers false if the pointer does not name `generation`; else for each event 'recorded', 'seen' if its id was recorded
-- before, 'forgotten' if its user is (see keys.py), 'ahead' if its time is over a day after now, 'full' if the stream holds `most_events`, or 'later' if its user has MOST_RECENT events: this one counts from
-- the next import on. A list is computed again by the flow under way, which looks for later events when it ends, or by
-- a new flow: at once, or DEBOUNCE_MS after the one before.
local stream, recents, versions, stale, current, click, batch, live_stem, later, forgotten = unpack(KEYS, 1, 10)
local generation, most_events, most_queued, first_look, flow_stem, users, traceparent = unpack(ARGV, 1, 7)
local _, keys_of = tail(KEYS, 10, 6)
local _, mark_of = tail(KEYS, 10 + 6 * users, 1)
local _, fields_of = tail(ARGV, 7, 5)
local events, event_of = tail(ARGV, 7 + 5 * users, 4)

if generation ~= '' and text_at(current) ~= generation then return false end
expect(stream, 'stream')
expect(recents, 'zset')
expect(versions, 'hash')
expect(stale, 'zset')
expect(later, 'hash')
expect(forgotten, 'hash')
local lanes, live = lanes_of(click, batch), live_of(live_stem)
for i = 1, users do
  local recent, left = keys_of(i)
  expect(recent, 'list')
  expect(left, 'string')
end

local now, forgotten_key = now_ms(), redis.call('HGET', forgotten, 'key')
local room, answers, recorded, last = most_events - redis.call('XLEN', stream), {}, {}, 0
for i = 1, events do
  local user, has_id, event, left_item = event_of(i)
  local mark = has_id == '1' and mark_of(i)
  user = tonumber(user)
  if forgotten_key and redis.call('HEXISTS', forgotten, redis.sha1hex(forgotten_key .. fields_of(user))) == 1 then
    answers[i] = 'forgotten'
  elseif mark and redis.call('EXISTS', mark) == 1 then
    answers[i] = 'seen'
  elseif (tonumber(string.match(event, '(%-?%d+)%]$')) or 0) > now + DAY_MS then
    answers[i] = 'ahead'
  elseif room <= 0 then
    answers[i] = 'full'
  else
    local recent, left = keys_of(user)
    local name = fields_of(user)
    if string.sub(event, -5) == 'null]' then
      event = string.sub(event, 1, -6) .. number(now) .. ']'
    end
    local at = redis.call('XADD', stream, '*', 'user', name, 'event', event)
    if mark then
      redis.call('SET', mark, '1', 'EX', EVENT_ID_TTL_S)
    end
    last = time_of(at)
    room = room - 1
    answers[i] = 'later'
    if redis.call('LLEN', recent) < MOST_RECENT then
      redis.call('RPUSH', recent, at .. ' ' .. event)
      if left_item ~= '' then
        redis.call('APPEND', left, left_line(left_item))
      end
      answers[i], recorded[user] = 'recorded', name
    else
      redis.call('HSET', later, name, at)
    end
  end
end

for i, name in pairs(recorded) do
  local _, _, refreshed, join, flow, job = keys_of(i)
  local _, id, spec, job_id, job_body = fields_of(i)
  local version = note_recent(recents, versions, name, last)
  local known = generation ~= '' and text_at(join)
  if generation == '' then
    -- There are no lists yet.
  elseif known and unfinished(state_at(flow_stem .. known)) then
    if lane_of(redis.call('HGET', flow_stem .. known, 'lane')) ~= CLICK then
      raise(lanes, live, flow_stem .. known, known)
    end
  elseif most_queued ~= '' and redis.call('ZCARD', lanes[CLICK]) >= tonumber(most_queued) then
    redis.call('ZADD', stale, version, name)
  else
    local delay = math.max(redis.call('PTTL', refreshed), 0)
    redis.call('SET', refreshed, '1', 'PX', number(delay + DEBOUNCE_MS))
    redis.call('SET', join, id, 'PX', UNFINISHED_TTL_MS)
    create_flow({ flow = flow, live = live, lanes = lanes, job = job }, {
      id = id, kind = 'user', spec = spec, join = join, run = '', block = '', lane = CLICK, job_id = job_id,
      job_body = job_body, now = now, first_look = first_look, delay = delay, traceparent = traceparent,
    })
  end
end
return answers
