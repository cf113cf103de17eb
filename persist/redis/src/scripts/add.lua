-- Adds members to a set.
--   KEYS[1]  set
--   ARGV[1]  ms that it is kept, 0: for ever   ARGV[2 …]  members
for at = 2, #ARGV do
  redis.call('SADD', KEYS[1], ARGV[at])
end
if ARGV[1] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return 1
