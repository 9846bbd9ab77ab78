-- Keeps the hidden items of a version under another key, for a run that leaves them out from its start.
-- ARGV  the version that the caller has read
-- Answers 1, or 0 when the hidden items have changed since.
local hidden, version, mask = unpack(KEYS)
local seen = unpack(ARGV)

if (text_at(version) or '') ~= seen then return 0 end
redis.call('DEL', mask)
redis.call('COPY', hidden, mask)
redis.call('PEXPIRE', mask, UNREFERENCED_TTL_MS)
return 1
