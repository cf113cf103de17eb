-- Raises cursors of one user; a lower one changes nothing. Epochs count before sequences.
--   KEYS[1]  cursors
--   ARGV[1]  ms that they are kept   ARGV[2 …]  field, epoch, seq of each
-- Answers how many rose.
local rose = 0
for at = 2, #ARGV, 3 do
  local field, epoch, seq = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local held_epoch, held_seq = string.match(redis.call('HGET', KEYS[1], field) or '0 -1', '^(%S+) (%S+)$')
  held_epoch, held_seq = tonumber(held_epoch), tonumber(held_seq)
  if epoch > held_epoch or (epoch == held_epoch and seq > held_seq) then
    redis.call('HSET', KEYS[1], field, ARGV[at + 1] .. ' ' .. ARGV[at + 2])
    rose = rose + 1
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return rose
