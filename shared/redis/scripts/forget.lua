-- Takes some lists of an old generation away, and its record: one that no pointer names and no run under way makes.
-- KEYS  generations, current, previous, newest, run-of, record; the lists
-- ARGV  generation, what the generations say of it and are to say from now on ('' nothing: all is gone), prefix of run
--       keys
-- Answers 1, or 0 when it is in use or somebody else has gone on with it.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
for i = 2, 4 do
  if text_at(KEYS[i]) == ARGV[1] then
    return 0
  end
end
local run = text_at(KEYS[5])
local state = run and state_at(ARGV[4] .. run)
if state == 'run' or state == 'finish' then
  return 0
end
-- A removal comes first: a full Redis refuses a script whose first write takes memory, and not one that has begun.
redis.call('UNLINK', unpack(KEYS, 6))
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return 1
