-- Read marks of one user are in the archive: those that are no higher go.
--   KEYS[1]  read marks
--   ARGV[…]  conversation, seq of each
for at = 1, #ARGV, 2 do
  if tonumber(redis.call('HGET', KEYS[1], ARGV[at]) or '0') <= tonumber(ARGV[at + 1]) then
    redis.call('HDEL', KEYS[1], ARGV[at])
  end
end
return 1
