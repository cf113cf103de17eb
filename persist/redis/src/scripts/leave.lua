-- Removes entries of one user that are still those of these sessions.
--   KEYS[1]  routes of the user
--   ARGV[1 …]  device, 'node boot session' of each
-- Answers how many went.
local went = 0
for at = 1, #ARGV, 2 do
  if string.match(redis.call('HGET', KEYS[1], ARGV[at]) or '', '^%d+ (%S+ %d+ %d+) ') == ARGV[at + 1] then
    went = went + redis.call('HDEL', KEYS[1], ARGV[at])
  end
end
return went
