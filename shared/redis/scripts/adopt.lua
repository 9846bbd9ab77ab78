-- reduce -> reduce: a fit publishes its model: its generation's record, the newest pointer and, without a current
-- generation, that pointer too.
-- ARGV  round of the reduce; prefixes of the keys of records and of what snapshots have
-- A flow moves pointers once: when its reduce comes again, another model may be the newest. Answers 1, or 0 when the
-- flow is past this round.
local flow, record_key, current, previous, newest, generations = unpack(KEYS)
local round, generation, record, snapshot, record_stem = unpack(ARGV, 1, 5)
local stems = { unpack(ARGV, 6) }

local state, flow_round, adopted = unpack(redis.call('HMGET', flow, 'state', 'round', 'adopted'))
if state ~= 'reduce' or flow_round ~= round then return 0 end
expect(generations, 'hash')
local to_current, to_newest = '', ''
if not adopted then
  to_newest = generation
  to_current = not generation_at(current, record_stem) and generation or ''
end
keep_record(record_key, record)
redis.call('HSET', generations, generation, snapshot)
repoint({ current, previous, newest }, { to_current, '', to_newest }, record_stem, stems)
redis.call('HSET', flow, 'adopted', '1')
return 1
