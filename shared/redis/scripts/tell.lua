-- Tells a worker something.
-- KEYS  its mail
-- ARGV  the word
-- The removal first, so that a full Redis lets it pass; and nothing is said twice.
if redis.call('TYPE', KEYS[1]).ok ~= 'list' then
  redis.call('DEL', KEYS[1])
end
redis.call('LREM', KEYS[1], 0, ARGV[1])
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], '10000')
return 1
