-- Releases a lock, if the token still holds it.
local lock = unpack(KEYS)
local token = unpack(ARGV)

if text_at(lock) == token then
  redis.call('DEL', lock)
end
return 1
