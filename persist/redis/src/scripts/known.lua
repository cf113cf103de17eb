-- The message that a send about to be made repeats.
--   KEYS[1]  marker   KEYS[2]  recent   KEYS[3]  send
--   ARGV[1]  epoch   ARGV[2]  now in ms   ARGV[3]  ms within which the same id is a repeat
-- Answers {'fence'}, {'unknown'}, or {'known', 'epoch seq msg_id ts_ms'}. An unarchived message is repeated however old it is.
if not serves(redis.call('GET', KEYS[1]), ARGV[1]) then
  return {'fence'}
end
local under, newest = string.match(redis.call('GET', KEYS[3]) or '', '^(%d+)\n([^\n]+)')
if under ~= ARGV[1] then
  return {'unknown'}
end
local seq, ts_ms = string.match(newest, '^%d+ (%d+) %d+ (%d+)$')
local recent = tonumber(ARGV[2]) <= tonumber(ts_ms) + tonumber(ARGV[3])
if recent or redis.call('ZCOUNT', KEYS[2], seq, seq) > 0 then
  return {'known', newest}
end
return {'unknown'}
