-- Makes a model known: its generation's record, the pointer to the newest and, if there is none, to the current one.
-- KEYS  record, current, previous, newest
-- ARGV  generation, record, prefix of record keys, prefix of titles keys, life of what is no longer named ms
-- A record that is there stays as it was first made. Answers the current generation.
local current = redis.call('GET', KEYS[2])
redis.call('SET', KEYS[1], ARGV[2], 'NX')
repoint({ KEYS[2], KEYS[3], KEYS[4] }, { current and '' or ARGV[1], '', ARGV[1] }, ARGV[3], ARGV[4], ARGV[5])
return current or ARGV[1]
