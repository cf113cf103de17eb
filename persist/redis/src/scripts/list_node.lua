-- Puts a node into the list of them.
--   KEYS[1]  list of nodes
--   ARGV[1]  node   ARGV[2]  ms that it stays
redis.call('ZADD', KEYS[1], text(now_ms() + tonumber(ARGV[2])), ARGV[1])
return 1
