-- Marks this server as one that serves an epoch. Called by the winner of the epoch alone, once a slot.
--   KEYS[1]  marker
--   ARGV[1]  epoch   ARGV[2]  the replication id that the winner has compared
-- Answers 1, or 0 when this is another server, or a later epoch is marked already.
local marker = redis.call('GET', KEYS[1])
local marked = marker and tonumber(string.match(marker, '^(%d+) ')) or 0
if identity() ~= ARGV[2] or marked > tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2])
return 1
