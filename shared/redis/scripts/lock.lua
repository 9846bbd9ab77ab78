-- Takes the sweeper's lock. One that never ends, or holds another type, is nobody's.
-- KEYS  sweeper
-- ARGV  token, life ms
-- Answers 1, or 0 when another sweeps.
local left = redis.call('PTTL', KEYS[1])
if left > 0 and left <= tonumber(ARGV[2]) then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
