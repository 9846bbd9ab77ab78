-- reduce -> reduce: a fit makes its model known: its generation's record, the pointer to the newest and, if that names
-- none, to the current one.
-- KEYS  flow, record, current, previous, newest, generations
-- ARGV  round of the reduce, generation, record, prefix of record keys, prefix of titles keys, life of what is not
--       named ms, the generation's snapshot
-- A record that can be read stays as it was first made. A flow moves pointers once: when its reduce comes again, another
-- model may have become the newest. Answers 1, or 0 when the flow is past this round.
local flow = redis.call('HMGET', KEYS[1], 'state', 'round', 'adopted')
if flow[1] ~= 'reduce' or flow[2] ~= ARGV[1] then
  return 0
end
expect(KEYS[6], 'hash')
local current, newest = '', ''
if not flow[3] then
  newest = ARGV[2]
  current = not generation_at(KEYS[3], ARGV[4]) and newest or ''
end
keep_record(KEYS[2], ARGV[3], ARGV[6])
redis.call('HSET', KEYS[6], ARGV[2], ARGV[7])
repoint({ KEYS[3], KEYS[4], KEYS[5] }, { current, '', newest }, ARGV[4], ARGV[5], ARGV[6])
redis.call('HSET', KEYS[1], 'adopted', '1')
return 1
