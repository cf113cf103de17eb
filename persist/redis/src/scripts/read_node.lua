-- What a node has said of itself last.
--   KEYS[1]  node
-- Answers {healthy, field, value, …}: healthy is '1' while it says so by this server's time, and of a run that says nothing
-- of it. Or nothing, of a node that has left.
local boot, healthy = unpack(redis.call('HMGET', KEYS[1], 'boot', 'healthy'))
if not boot then
  return {}
end
local of, expiry = string.match(healthy or '', '^(%d+) (%d+)$')
local lapsed = of == boot and tonumber(expiry) <= now_ms()
return {lapsed and '0' or '1', unpack(redis.call('HGETALL', KEYS[1]))}
