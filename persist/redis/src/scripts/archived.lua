-- Messages of one conversation are in the archive: their copies here go. Needs no fence, as it only removes
-- what is safe elsewhere.
--   KEYS[1]  sequence   KEYS[2]  recent   KEYS[2 + i]  send of message i
--   ARGV[1]  epoch   ARGV[2]  ms that a send is remembered from now on
--   ARGV[3]  ms that an idle sequence is kept   ARGV[3 + i]  sequence of message i
-- Answers {1 if the archive knew no message before, lowest unarchived or 0}.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'fresh')
if state[1] ~= ARGV[1] then
  return {0, 0}
end
for i = 1, #KEYS - 2 do
  redis.call('ZREMRANGEBYSCORE', KEYS[2], ARGV[3 + i], ARGV[3 + i])
  redis.call('PEXPIRE', KEYS[2 + i], ARGV[2])
end
if state[2] then
  redis.call('HDEL', KEYS[1], 'fresh')
end
local lowest = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
if not lowest then
  -- The archive knows the head now, so the key may go.
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return {state[2] and 1 or 0, tonumber(lowest or '0')}
