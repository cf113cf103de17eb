-- What a node says of itself, for a while. A run that another has taken the place of is not heard any more.
--   KEYS[1]  node
--   ARGV[1]  boot   ARGV[2]  ms that it stays   ARGV[3]  ms that it is healthy   ARGV[4 …]  field, value, …
-- Answers 1, or 0 for a run that was replaced.
local held = redis.call('HMGET', KEYS[1], 'boot', 'before')
if held[2] == ARGV[1] then
  return 0
end
if held[1] and held[1] ~= ARGV[1] then
  redis.call('HSET', KEYS[1], 'before', held[1])
end
redis.call('HSET', KEYS[1], 'boot', ARGV[1], unpack(ARGV, 4))
-- With its boot: a version that does not know of health leaves what another run has said.
redis.call('HSET', KEYS[1], 'healthy', ARGV[1] .. ' ' .. text(now_ms() + tonumber(ARGV[3])))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
