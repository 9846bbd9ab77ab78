-- Lets go of the sweeper's lock, if it still is whose token it shows.
-- KEYS  sweeper
-- ARGV  token
if text_at(KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
