-- Settles jobs of one queue that a worker has claimed. A job whose claim is lost is left alone.
-- KEYS  refused and dead are the queue again without dead letters
-- ARGV  for each job: id, fencing token, how, amount ms, data, the reason of a dead letter ('' for none)
--         'done'   it has ended; data is its result, kept for the amount (0 for ever), '' for none
--         'kept'   the same, and its id stays taken for a minute
--         'back'   it goes back to its place; this was no try
--         'later'  it is tried again after the amount, at its place; data is its new body, '' for the same
-- Answers the number of jobs that were still under their claims.
local queue, refused, dead = unpack(KEYS)
local size, job_of = tail(ARGV, 0, 6)

local leases, now, count, done, kept, back = queue .. LEASES, now_ms(), 0, {}, {}, 0
local has_letters = refused ~= queue
expect_queue(queue)
for i = 1, size do
  local _, _, _, _, _, reason = job_of(i)
  if reason ~= '' and has_letters then
    expect(refused, 'hash')
    expect(dead, 'stream')
    break
  end
end
for i = 1, size do
  local id, token, how, amount, data, reason = job_of(i)
  if text_at(RUNNING .. id) == token then
    count = count + 1
    redis.call('ZREM', leases, id) -- A removal comes first.
    if how == 'back' or how == 'later' then
      local score = redis.call('ZSCORE', queue, id)
      local place = place_of(score)
      redis.call('DEL', RUNNING .. id)
      if how == 'later' and score then
        place = place + PAUSED
        redis.call('ZADD', leases, number(now + amount), id)
        if data ~= '' then
          redis.call('SET', JOB .. id, data, 'XX', 'KEEPTTL')
        end
      end
      redis.call('ZADD', queue, 'XX', number(place), id)
      back = back + 1
    else
      if reason ~= '' and has_letters then
        count_refused(refused, dead, 'job', id, reason, text_at(JOB .. id) or id)
      end
      if data ~= '' then
        redis.call('SET', RESULT .. id, data)
        if amount ~= '0' then
          redis.call('PEXPIRE', RESULT .. id, amount)
        end
      end
      done[#done + 1] = id
      kept[#kept + 1] = how == 'kept' and i or nil
    end
  end
end
if #done > 0 then
  finish_jobs(queue, done)
end
for _, i in ipairs(kept) do
  local id, token = job_of(i)
  redis.call('SET', RUNNING .. id, token, 'PX', CRON_TTL_MS)
end
if back > 0 then
  wake(queue, back)
end
return count
