-- finish -> finish: makes a run's generation the current one, unless the pointer has moved since the run began.
-- ARGV  round of the finish; the value of the newest pointer if it names a generation of the same model, which this one
--       replaces, or ''; prefixes of the keys of records and of what snapshots have
-- Answers 'late' when the run is not in finish of that round, 'lost' without its generation's record, 'superseded',
-- 'barred' for a generation that was rolled back, or 'flipped', also when it was done before. A pointer without a valid
-- generation has not moved.
local run, current, previous, newest, barred = unpack(KEYS)
local generation, round, replaced, record_stem = unpack(ARGV, 1, 4)
local stems = { unpack(ARGV, 5) }

local state, since, flipped, run_round = unpack(redis.call('HMGET', run, 'state', 'since', 'flipped', 'round'))
if state ~= 'finish' or run_round ~= round then return 'late' end
if not snapshot_of(record_stem .. generation) then return 'lost' end
local live = generation_at(current, record_stem) or ''
if live == generation then return 'flipped' end
if live ~= '' and (flipped or live ~= since) then return 'superseded' end
expect(barred, 'hash')
if redis.call('HEXISTS', barred, generation) == 1 then return 'barred' end
delete_first(run)
local to_newest = replaced ~= '' and text_at(newest) == replaced and generation or ''
repoint({ current, previous, newest }, { generation, live, to_newest }, record_stem, stems)
redis.call('HSET', run, 'flipped', '1')
return 'flipped'
