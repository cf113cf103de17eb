-- Says that a run of a node holds members of a group.
--   KEYS[1]  seats of the group
--   ARGV[1]  'node boot'   ARGV[2]  ms that it stays
local now = now_ms()
redis.call('HSET', KEYS[1], ARGV[1], text(now + tonumber(ARGV[2])) .. ' ' .. ARGV[1])
prune(KEYS[1], now)
return 1
