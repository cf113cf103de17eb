-- Lets sessions of one user stay, and puts back those that are missing. A device that another session holds is left to it.
--   KEYS[1]  routes of the user
--   ARGV[1]  ms that they stay   ARGV[2 …]  device, 'node boot session', 'opened class' of each
-- Answers how many stay.
local now, stay = now_ms(), 0
local expiry = text(now + tonumber(ARGV[1]))
for at = 2, #ARGV, 3 do
  local until_ms, session = string.match(redis.call('HGET', KEYS[1], ARGV[at]) or '', '^(%d+) (%S+ %d+ %d+) ')
  if not until_ms or tonumber(until_ms) <= now or session == ARGV[at + 1] then
    redis.call('HSET', KEYS[1], ARGV[at], expiry .. ' ' .. ARGV[at + 1] .. ' ' .. ARGV[at + 2])
    stay = stay + 1
  end
end
prune(KEYS[1], now)
return stay
