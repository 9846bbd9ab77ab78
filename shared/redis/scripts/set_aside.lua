-- Removes keys that do not hold what they should, so that what they stand in the place of is lost, and mended as such.
-- KEYS  refused, dead, and others
-- ARGV  for each of them its type; 'integer' is a string that holds one
-- Answers how many it removed.
local wrong = {}
for i, key in ipairs(KEYS) do
  local found, wanted = redis.call('TYPE', key).ok, ARGV[i]
  if wanted == 'integer' and found == 'string' then
    local text = redis.call('GET', key)
    found = string.find(text, '^%-?%d+$') and #text < 16 and 'integer' or 'string'
  end
  if found ~= 'none' and found ~= wanted then
    wrong[#wrong + 1] = { key = key, reason = 'holds a ' .. found .. ' in the place of a ' .. wanted }
  end
end
for _, it in ipairs(wrong) do
  redis.call('UNLINK', it.key)
end
for _, it in ipairs(wrong) do
  count_refused(KEYS[1], KEYS[2], 'key', it.key, it.reason, '')
end
return #wrong
