-- Where a conversation stands, all of one moment, to be compared with the archive.
--   KEYS[1]  marker   KEYS[2]  sequence   KEYS[3]  recent   KEYS[4]  holes
--   ARGV[1]  epoch   ARGV[2]  ranges of holes told at most
-- Answers
--   {'fence'}   not this server's epoch
--   {'start'}   no state in this epoch: there is nothing to compare
--   {'stands', head, what was dense when the epoch began here, unarchived messages, lowest of them or 0,
--    1 if there are more holes, 'first-last', …}
if not serves(redis.call('GET', KEYS[1]), ARGV[1]) then
  return {'fence'}
end
local state = redis.call('HMGET', KEYS[2], 'epoch', 'head', 'dense')
if state[1] ~= ARGV[1] then
  return {'start'}
end
local head, most = tonumber(state[2] or '0') or 0, tonumber(ARGV[2])
local lowest = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2]
local holes = redis.call('LRANGE', KEYS[4], 0, most)
local reply = {'stands', head, tonumber(state[3] or '') or head, redis.call('ZCARD', KEYS[3]), tonumber(lowest or '0'),
  #holes > most and 1 or 0}
for i = 1, math.min(#holes, most) do
  reply[6 + i] = holes[i]
end
return reply
