-- Deletes some lists of an old generation, and its record, unless a pointer names it or a run under way makes it.
-- KEYS  then the lists
-- ARGV  the generation, the entry that the caller read, the new entry ('' deletes it), the prefix of run keys
-- Answers 1, or 0 when it is in use or its entry has changed.
local generations, current, previous, newest, run_of, record, held = unpack(KEYS, 1, 7)
local lists = { unpack(KEYS, 8) }
local generation, seen, left, run_stem = unpack(ARGV)

expect(held, 'hash')
if redis.call('HGET', generations, generation) ~= seen then return 0 end
for _, pointer in ipairs({ current, previous, newest }) do
  if text_at(pointer) == generation then return 0 end
end
local run = text_at(run_of)
if run and under_way(state_at(run_stem .. run)) then return 0 end
redis.call('UNLINK', record, unpack(lists)) -- A removal comes first.
redis.call('HDEL', held, generation)
if left == '' then
  redis.call('HDEL', generations, generation)
else
  redis.call('HSET', generations, generation, left)
end
return 1
