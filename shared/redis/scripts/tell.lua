-- Tells a worker something.
-- KEYS  its mail
-- ARGV  the word
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], '10000')
return 1
