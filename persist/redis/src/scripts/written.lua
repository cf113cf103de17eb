-- Cursors of one user are in SQL: those that are what was written go.
--   KEYS[1]  cursors
--   ARGV[1 …]  field, 'epoch seq' of each
-- Answers how many are left.
for at = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[at]) == ARGV[at + 1] then
    redis.call('HDEL', KEYS[1], ARGV[at])
  end
end
return redis.call('HLEN', KEYS[1])
