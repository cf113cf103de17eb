-- A run of a node has ended.
--   KEYS[1]  node
--   ARGV[1]  boot
-- Answers 1, or 0 when it is another run's by now.
if redis.call('HGET', KEYS[1], 'boot') == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
