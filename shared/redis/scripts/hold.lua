-- Renews a lock, if the token still holds it.
-- ARGV  token, life ms
-- Answers 1, or 0 when another token holds it, or none.
local lock = unpack(KEYS)
local token, life = unpack(ARGV)

if text_at(lock) ~= token then return 0 end
return redis.call('PEXPIRE', lock, life)
