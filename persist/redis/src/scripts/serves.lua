-- Whether this server serves an epoch.
--   KEYS[1]  marker
--   ARGV[1]  epoch
-- Answers 1 or 0.
return serves(redis.call('GET', KEYS[1]), ARGV[1]) and 1 or 0
