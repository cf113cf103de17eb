-- The time of this server, Unix milliseconds.
local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function text(number)
  return string.format('%.0f', number)
end

-- Removes entries 'expiry …' of a hash that have run out, and lets the key end with the last of the others.
local function prune(key, now)
  local latest, all = 0, redis.call('HGETALL', key)
  for at = 1, #all, 2 do
    local expiry = tonumber(string.match(all[at + 1], '^%d+'))
    if expiry <= now then
      redis.call('HDEL', key, all[at])
    else
      latest = math.max(latest, expiry)
    end
  end
  redis.call('PEXPIREAT', key, text(latest))
end
