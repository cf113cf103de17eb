-- Notes a conversation that the archive does not know yet.
--   KEYS[1]  the user's set of them
--   ARGV[1]  conversation   ARGV[2]  ms that unarchived state is kept at most
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
