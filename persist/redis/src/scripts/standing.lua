-- Where a conversation stands, both of one moment.
--   KEYS[1]  sequence   KEYS[2]  recent
--   ARGV[1]  epoch
-- Answers {0, 0} when it has no state in this epoch, or {head, lowest unarchived or 0}.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'head')
if state[1] ~= ARGV[1] then
  return {0, 0}
end
local lowest = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
return {tonumber(state[2]), tonumber(lowest or '0')}
