-- The nodes that may live; those that have run out leave the list.
--   KEYS[1]  list of nodes
-- Answers {node, …}.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now_ms()))
return redis.call('ZRANGE', KEYS[1], 0, -1)
