-- The runs of nodes that stand in a hash of routes or of seats.
--   KEYS[1]  the hash
-- Answers {'node boot', …}, each once.
local now, seen, runs = now_ms(), {}, {}
for _, value in ipairs(redis.call('HVALS', KEYS[1])) do
  local expiry, run = string.match(value, '^(%d+) (%S+ %d+)')
  if tonumber(expiry) > now and not seen[run] then
    seen[run] = true
    runs[#runs + 1] = run
  end
end
return runs
