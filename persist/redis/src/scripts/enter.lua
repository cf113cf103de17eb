-- Enters a session of a user's device.
--   KEYS[1]  routes of the user
--   ARGV[1]  device   ARGV[2]  'node boot session'   ARGV[3]  'opened class'   ARGV[4]  ms that it stays
-- Answers {device, 'expiry node boot session opened class', …} of the user's other routes, that of the session that was
-- replaced among them.
local now, others = now_ms(), {}
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  local expiry, session = string.match(all[at + 1], '^(%d+) (%S+ %d+ %d+) ')
  if tonumber(expiry) > now and not (all[at] == ARGV[1] and session == ARGV[2]) then
    others[#others + 1] = all[at]
    others[#others + 1] = all[at + 1]
  end
end
redis.call('HSET', KEYS[1], ARGV[1], text(now + tonumber(ARGV[4])) .. ' ' .. ARGV[2] .. ' ' .. ARGV[3])
prune(KEYS[1], now)
return others
