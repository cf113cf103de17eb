-- What a line of a user's conversation list needs of one conversation.
--   KEYS[1]  sequence   KEYS[2]  recent   KEYS[3]  holes
--   ARGV[1]  epoch   ARGV[2]  user   ARGV[3]  the user's own messages are counted above this   ARGV[4]  among so many at most
-- Answers {'start'} or {'entry', head, first hole or 0, lowest unarchived or 0, own among the unarchived,
-- newest unarchived seq or 0, its member}.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'head')
if state[1] ~= ARGV[1] then
  return {'start'}
end
local hole = tonumber(string.match(redis.call('LINDEX', KEYS[3], 0) or '', '^%d+') or '0')
local lowest = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
local newest = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
local own, prefix = 0, ARGV[2] .. '\n'
if lowest then
  for _, member in ipairs(redis.call('ZREVRANGEBYSCORE', KEYS[2], '+inf', '(' .. ARGV[3], 'LIMIT', 0, ARGV[4])) do
    if string.sub(member, 1, #prefix) == prefix then
      own = own + 1
    end
  end
end
return {'entry', tonumber(state[2]), hole, tonumber(lowest or '0'), own, tonumber(newest[2] or '0'), newest[1] or ''}
