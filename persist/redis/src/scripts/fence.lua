-- The identity of this very server process in its present life as a master: Redis draws a new replication id
-- at every start and at every promotion, and copies of the data do not carry it. A replica has none: it shows the
-- replication id of its master.
local function identity()
  local info = redis.call('INFO', 'replication')
  return string.match(info, 'role:master') and string.match(info, 'master_replid:(%x+)') or ''
end

-- Whether the marker says that this server serves this epoch. It is missing after a flush or an empty start,
-- and names another server on a promoted replica or after a restart from a file.
local function serves(marker, epoch)
  return marker == epoch .. ' ' .. identity()
end
