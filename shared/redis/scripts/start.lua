-- (nothing) -> run: creates a run with its first window of blocks, or joins the one under way for its generation. The
-- night of a date does so once: it has one run.
-- KEYS  run-of, run, flight, what the live sets' names start with, record, current, night (run-of for a run of no night),
--       click queue, batch queue, generations; for each block of the window: flow, job
-- ARGV  run id, generation, record, its life ms, what the current pointer was seen to hold, spec of the blocks, number of
--       blocks, block size, users, life ms, first look ms, prefix of run keys, life of the night's key ms, the
--       generation that the pointer named ('' for none, as where it holds no id), the snapshot of this generation; for
--       each block: flow id, job id, job body
-- Answers the id of the run and 'started', 'joined' or, for a night that has its run, 'known'; false when the pointer
-- has moved since it was seen.
-- No empty name stands for none: a user with a pattern of keys may not name it.
local night = KEYS[7] ~= KEYS[1] and KEYS[7]
local known = night and text_at(night)
if known then
  return { known, 'known' }
end
expect(KEYS[10], 'hash')
local lanes, live = lanes_of(KEYS[8], KEYS[9]), live_of(KEYS[4])
local under_way = text_at(KEYS[1])
if under_way then
  local state = state_at(ARGV[12] .. under_way)
  if state == 'run' or state == 'finish' then
    if night then
      redis.call('SET', night, under_way, 'PX', ARGV[13])
      redis.call('HSET', ARGV[12] .. under_way, 'night', '1')
    end
    return { under_way, 'joined' }
  end
end
if (text_at(KEYS[6]) or '') ~= ARGV[5] then
  return false
end
local now, life = now_ms(), ARGV[10]
redis.call('SET', KEYS[1], ARGV[1], 'PX', life)
if night then
  redis.call('SET', night, ARGV[1], 'PX', ARGV[13])
end
keep_record(KEYS[5], ARGV[3], ARGV[4])
redis.call('HSET', KEYS[10], ARGV[2], ARGV[15])
-- Its id is fresh, so whatever is there was planted.
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('HSET', KEYS[2], 'state', 'run', 'generation', ARGV[2], 'since', ARGV[14], 'spec', ARGV[6], 'next', '0',
  'blocks', ARGV[7], 'block_size', ARGV[8], 'users', ARGV[9], 'round', '0', 'started', number(now),
  'window', number((#KEYS - 10) / 2))
if night then
  redis.call('HSET', KEYS[2], 'night', '1')
end
redis.call('PEXPIRE', KEYS[2], life)
redis.call('ZADD', live.batch, number(now + tonumber(ARGV[11])), 'run:' .. ARGV[1])
for i = 11, #KEYS, 2 do
  local at = 16 + 3 * (i - 11) / 2
  create_block({ flow = KEYS[i], live = live, lanes = lanes, job = KEYS[i + 1], run = KEYS[2], flight = KEYS[3] }, {
    id = ARGV[at], job_id = ARGV[at + 1], job_body = ARGV[at + 2], run = ARGV[1], now = now,
    first_look = tonumber(ARGV[11]), life = life,
  })
end
return { ARGV[1], 'started' }
