-- (nothing) -> run: creates a run with its first window of blocks, or joins the one under way for its generation.
-- KEYS  run-of, run, flight, live, queue, record, current; for each block of the window: flow, job
-- ARGV  run id, generation, record, its life ms, the current generation that was seen, spec of the blocks, number of
--       blocks, block size, users, life ms, first look ms, prefix of run keys; for each block: flow id, job id, job body
-- Answers the id of the run, or false when the pointer has moved since it was seen.
local under_way = text_at(KEYS[1])
if under_way then
  local state = redis.call('HGET', ARGV[12] .. under_way, 'state')
  if state == 'run' or state == 'finish' then
    return under_way
  end
end
if (redis.call('GET', KEYS[7]) or '') ~= ARGV[5] then
  return false
end
local now, life = now_ms(), ARGV[10]
redis.call('SET', KEYS[1], ARGV[1], 'PX', life)
redis.call('SET', KEYS[6], ARGV[3], 'PX', ARGV[4], 'NX')
redis.call('HSET', KEYS[2], 'state', 'run', 'generation', ARGV[2], 'since', ARGV[5], 'spec', ARGV[6], 'next', '0',
  'blocks', ARGV[7], 'block_size', ARGV[8], 'users', ARGV[9], 'round', '0', 'started', number(now))
redis.call('PEXPIRE', KEYS[2], life)
redis.call('ZADD', KEYS[4], number(now + tonumber(ARGV[11])), 'run:' .. ARGV[1])
for i = 8, #KEYS, 2 do
  local at = 13 + 3 * (i - 8) / 2
  create_block({ flow = KEYS[i], live = KEYS[4], queue = KEYS[5], job = KEYS[i + 1], run = KEYS[2], flight = KEYS[3] }, {
    id = ARGV[at], job_id = ARGV[at + 1], job_body = ARGV[at + 2], run = ARGV[1], now = now,
    first_look = tonumber(ARGV[11]), life = life,
  })
end
return ARGV[1]
