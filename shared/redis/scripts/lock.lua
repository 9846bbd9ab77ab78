-- Takes a lock. One without an end, or of another type, is free.
-- ARGV  token, life ms
-- Answers 1, or 0 when another token holds it.
local lock = unpack(KEYS)
local token, life = unpack(ARGV)

local left = redis.call('PTTL', lock)
if left > 0 and left <= tonumber(life) then return 0 end
redis.call('DEL', lock) -- A removal comes first.
redis.call('SET', lock, token, 'PX', life)
return 1
