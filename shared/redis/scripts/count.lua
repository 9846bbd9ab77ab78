-- Adds a batch of counts of one process. A batch that was added before changes nothing.
-- KEYS  counts: the counts of all processes together; counted: the number of this process' last batch
-- ARGV  the batch's number; for each count its field and what to add
-- Answers 1, or 0 when the batch was added before.
local counts, counted = unpack(KEYS)
local batch = ARGV[1]
local count, pair = tail(ARGV, 1, 2)

if text_at(counted) == batch then return 0 end
expect(counts, 'hash')
-- A full server is when counts are needed most, and their number is bounded.
delete_first(counts)
redis.call('SET', counted, batch, 'PX', COUNTED_TTL_MS)
for i = 1, count do
  local field, more = pair(i)
  if type(redis.pcall('HINCRBY', counts, field, more)) ~= 'number' then
    -- A planted value is no number, or too large.
    redis.call('HSET', counts, field, more)
  end
end
return 1
