-- Removes keys of the wrong type. Their proper values are then missing, and are recreated like lost ones.
-- KEYS  refused, dead, and the others
-- ARGV  for each key its type; 'integer' is a string that holds one
-- Answers the number of removed keys.
local keys, types = KEYS, ARGV
local refused, dead = unpack(KEYS, 1, 2)

local wrong = {}
for i, key in ipairs(keys) do
  local found, wanted = redis.call('TYPE', key).ok, types[i]
  if wanted == 'integer' and found == 'string' then
    local text = redis.call('GET', key)
    found = string.find(text, '^%-?%d+$') and #text < 16 and 'integer' or 'string'
  end
  if found ~= 'none' and found ~= wanted then
    wrong[#wrong + 1] = { key = key, reason = 'holds a ' .. found .. ' in the place of a ' .. wanted }
  end
end
-- A removal comes first.
for _, it in ipairs(wrong) do
  redis.call('UNLINK', it.key)
end
for _, it in ipairs(wrong) do
  count_refused(refused, dead, 'key', it.key, it.reason, '')
end
return #wrong
