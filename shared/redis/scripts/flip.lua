-- finish -> finish: makes a run's generation the current one, unless the pointer has moved since the run began.
-- KEYS  run, current, previous, newest
-- ARGV  generation, prefix of record keys, prefix of titles keys, life of what is no longer named ms, round
-- Answers 'late' when the run is not in finish of that round, 'lost' when its generation's record is gone, 'superseded',
-- or 'flipped', also when it was done before. A pointer that names no generation any more has not moved to another.
local run = redis.call('HMGET', KEYS[1], 'state', 'since', 'flipped', 'round')
if run[1] ~= 'finish' or run[4] ~= ARGV[5] then
  return 'late'
end
if not snapshot_of(ARGV[2] .. ARGV[1]) then
  return 'lost'
end
local current = generation_at(KEYS[2], ARGV[2]) or ''
if current == ARGV[1] then
  return 'flipped'
end
if current ~= '' and (run[3] or current ~= run[2]) then
  return 'superseded'
end
removal_first(KEYS[1])
repoint({ KEYS[2], KEYS[3], KEYS[4] }, { ARGV[1], current, '' }, ARGV[2], ARGV[3], ARGV[4])
redis.call('HSET', KEYS[1], 'flipped', '1')
return 'flipped'
