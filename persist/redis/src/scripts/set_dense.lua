-- Sets what was dense when the epoch began here, if it still is what it was found to be.
--   KEYS[1]  marker   KEYS[2]  sequence
--   ARGV[1]  epoch   ARGV[2]  what was found   ARGV[3]  what it is to be
-- Answers 1, or 0 when epoch or value are others by now.
local state = redis.call('HMGET', KEYS[2], 'epoch', 'dense')
if not serves(redis.call('GET', KEYS[1]), ARGV[1]) or state[1] ~= ARGV[1] or state[2] ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[2], 'dense', ARGV[3])
return 1
