-- Sends a worker one word. A word that waits already is not sent twice.
local mail = unpack(KEYS)
local word = unpack(ARGV)

-- A removal comes first.
if redis.call('TYPE', mail).ok ~= 'list' then
  redis.call('DEL', mail)
end
redis.call('LREM', mail, 0, word)
redis.call('RPUSH', mail, word)
redis.call('PEXPIRE', mail, '10000')
return 1
