-- A read mark of one user; a lower one changes nothing.
--   KEYS[1]  read marks
--   ARGV[1]  conversation   ARGV[2]  seq   ARGV[3]  ms that they are kept
if tonumber(ARGV[2]) > tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0') then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
