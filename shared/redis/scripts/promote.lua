-- Makes a generation the current one by hand. The one before becomes the previous one, and is barred if it is `bar`.
-- ARGV  seen: the current pointer's value; prefixes of the keys of records and of what snapshots have
-- Answers 'lost' without the generation's record, 'incomplete' if its lists were never whole or are being deleted,
-- 'moved' if the pointer is not `seen`, or 'done'.
local current, previous, newest, barred, held, generations = unpack(KEYS)
local generation, seen, bar, record_stem = unpack(ARGV, 1, 4)
local stems = { unpack(ARGV, 5) }

expect(barred, 'hash')
expect(held, 'hash')
expect(generations, 'hash')
if (text_at(current) or '') ~= seen then return 'moved' end
-- A rollback goes back to the previous generation only.
if bar ~= '' and text_at(previous) ~= generation then return 'moved' end
local live = generation_at(current, record_stem) or ''
if live == generation then return 'done' end
if not snapshot_of(record_stem .. generation) then return 'lost' end
local lists = redis.call('HGET', generations, generation)
if redis.call('HEXISTS', held, generation) == 0 or not lists or string.find(lists, ' ') then return 'incomplete' end
redis.call('HDEL', barred, generation) -- A removal comes first.
if bar ~= '' then
  redis.call('HSET', barred, bar, number(now_ms()))
end
repoint({ current, previous, newest }, { generation, live, '' }, record_stem, stems)
return 'done'
