-- Settles jobs of one queue that a worker has claimed: whoever has lost a claim changes nothing.
-- KEYS  queue, refused, dead (the queue again for both where there are no dead letters)
-- ARGV  for each job: id, token of its claim, how, a number, data;
--         'done'   it has ended; data is its result, to be kept for so many ms (0 for ever) unless it is empty
--         'kept'   the same, and none of its name is to be made for a minute
--         'back'   it goes back to its place, and this was no try
--         'later'  it is tried again after so many ms, at its place; data is its body from then on, empty for the same
--       and the reason for which one that has ended becomes a dead letter ('' for none)
-- Answers how many were still under their claims.
local queue = KEYS[1]
local leases, now, count, done, kept, back = queue .. ':leases', now_ms(), 0, {}, {}, 0
local KEPT = '60000'
expect(queue, 'zset')
expect(leases, 'zset')
for i = 6, #ARGV, 6 do
  if ARGV[i] ~= '' and KEYS[2] ~= queue then
    expect(KEYS[2], 'hash')
    expect(KEYS[3], 'stream')
    break
  end
end
for i = 1, #ARGV, 6 do
  local id, how, amount, data, reason = ARGV[i], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
  if text_at(RUNNING .. id) == ARGV[i + 1] then
    count = count + 1
    redis.call('ZREM', leases, id)
    if how == 'back' or how == 'later' then
      local score = redis.call('ZSCORE', queue, id)
      local place = place_of(score)
      redis.call('DEL', RUNNING .. id)
      if how == 'later' and score then
        place = place + PAUSED
        redis.call('ZADD', leases, number(now + tonumber(amount)), id)
        if data ~= '' then
          redis.call('SET', JOB .. id, data, 'XX', 'KEEPTTL')
        end
      end
      redis.call('ZADD', queue, 'XX', number(place), id)
      back = back + 1
    else
      if reason ~= '' and KEYS[2] ~= queue then
        local body = redis.pcall('GET', JOB .. id)
        count_refused(KEYS[2], KEYS[3], 'job', id, reason, type(body) == 'string' and body or id)
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
  redis.call('SET', RUNNING .. ARGV[i], ARGV[i + 1], 'PX', KEPT)
end
if back > 0 then
  wake(queue, back)
end
return count
