-- The unarchived part of a page, and where the conversation stands.
--   KEYS[1]  marker   KEYS[2]  sequence   KEYS[3]  recent   KEYS[4]  holes
--   ARGV[1]  epoch   ARGV[2]  'after' or 'before'   ARGV[3]  that sequence
--   ARGV[4]  messages at most   ARGV[5]  bytes at most (at least one message)
-- Answers
--   {'fence'}   not this server's epoch
--   {'start'}   no state here: the archive tells all
--   {'page', head, first hole or 0, what was dense when the epoch began here, seq, member, seq, member, …}   in the direction asked
if not serves(redis.call('GET', KEYS[1]), ARGV[1]) then
  return {'fence'}
end
local state = redis.call('HMGET', KEYS[2], 'epoch', 'head', 'dense')
if state[1] ~= ARGV[1] then
  return {'start'}
end
local hole = tonumber(string.match(redis.call('LINDEX', KEYS[4], 0) or '', '^%d+') or '0')
local reply = {'page', tonumber(state[2]), hole, tonumber(state[3] or state[2])}
if tonumber(ARGV[4]) == 0 then
  return reply
end
local items
if ARGV[2] == 'after' then
  items = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. ARGV[3], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[4])
else
  items = redis.call('ZREVRANGEBYSCORE', KEYS[3], '(' .. ARGV[3], '-inf', 'WITHSCORES', 'LIMIT', 0, ARGV[4])
end
local bytes = 0
for i = 1, #items, 2 do
  bytes = bytes + #items[i]
  if bytes > tonumber(ARGV[5]) and i > 1 then
    break
  end
  reply[#reply + 1] = tonumber(items[i + 1])
  reply[#reply + 1] = items[i]
end
return reply
