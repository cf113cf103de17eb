-- Numbers messages of one conversation in the order given.
--   KEYS[1]  marker   KEYS[2]  sequence   KEYS[3]  recent   KEYS[4]  holes   KEYS[4 + i]  send of message i
--   ARGV[1]  epoch
--   ARGV[2]  ms within which the same client message id is a repeat
--   ARGV[3]  ms that unarchived state is kept at most
--   ARGV[4]  '' or the start from the archive: 'dense:head:' or 'dense:head:first-last,…', the holes
--   ARGV[5 + 4 (i - 1) …]  message i: id, time in ms, member of `recent`,
--            what to do when its send is not known here: 'new'; 'ask' first; 'early', which is to ask unless the
--            archive held nothing of the conversation when this epoch began; or the archive's answer, 'none' or
--            'epoch seq msg_id ts_ms'
-- Answers
--   {'fence'}            not this server's epoch; nothing was done
--   {'start'}            the conversation has no state in this epoch: come again with the start
--   {'ask', i, …}        the archive has to be asked for these; nothing was numbered
--   {'numbered', head, first hole or 0, lowest unarchived or 0, 1 if the archive knows no message, answer 1, …}
--                        an answer is the new sequence, or 'epoch seq msg_id ts_ms' of the message known
local epoch, window, keep_ms = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if not serves(redis.call('GET', KEYS[1]), epoch) then
  return {'fence'}
end

local state = redis.call('HMGET', KEYS[2], 'epoch', 'head', 'fresh', 'from')
local head, fresh, from = tonumber(state[2]), state[3], state[4]
if state[1] ~= epoch then
  if ARGV[4] == '' then
    return {'start'}
  end
  local dense, missing
  dense, from, missing = string.match(ARGV[4], '^(%d+):(%d+):(.*)$')
  head, fresh = tonumber(from), from == '0' and '1' or false
  -- The first write is one that may need memory: after it, a server that has none refuses nothing more.
  redis.call('HSET', KEYS[2], 'epoch', epoch, 'head', head, 'dense', dense, 'from', from)
  -- What an earlier epoch left is void: those messages are numbered again.
  redis.call('HDEL', KEYS[2], 'fresh')
  redis.call('DEL', KEYS[3], KEYS[4])
  for hole in string.gmatch(missing, '[^,]+') do
    redis.call('RPUSH', KEYS[4], hole)
  end
  if fresh then
    redis.call('HSET', KEYS[2], 'fresh', '1')
  end
  redis.call('PEXPIRE', KEYS[2], keep_ms)
  redis.call('PEXPIRE', KEYS[4], keep_ms)
end

local count, given = #KEYS - 4, head

-- The sends remembered under a key in this epoch, newest first, each 'epoch seq msg_id ts_ms'.
local function sends(key)
  local value = redis.call('GET', key)
  local under, list = string.match(value or '', '^(%d+)\n(.*)$')
  return under == epoch and list or ''
end

local function repeats(of, id, ts)
  local msg_id, ts_ms = string.match(of, '^%d+ %d+ (%d+) (%d+)$')
  if not msg_id then
    return false
  end
  return msg_id == id or math.abs(ts - tonumber(ts_ms)) <= window
end

-- The send that this message is or repeats: itself, else the latest near enough.
local function find(list, id, ts)
  local near
  for entry in string.gmatch(list, '[^\n]+') do
    if string.match(entry, '^%d+ %d+ (%d+) ') == id then
      return entry
    end
    near = near or (repeats(entry, id, ts) and entry)
  end
  return near
end

local asked = {'ask'}
for i = 1, count do
  local at = 1 + 4 * i
  local ask = ARGV[at + 3] == 'ask' or ARGV[at + 3] == 'early' and from ~= '0'
  if ask and not find(sends(KEYS[4 + i]), ARGV[at], tonumber(ARGV[at + 1])) then
    asked[#asked + 1] = i
  end
end
if #asked > 1 then
  return asked
end

-- The first range of holes. There may be very many ranges: no more of them are touched than are given out.
local low, high
local function first_hole()
  low, high = string.match(redis.call('LINDEX', KEYS[4], 0) or '', '^(%d+)-(%d+)$')
  low, high = low and tonumber(low), high and tonumber(high)
end
first_hole()

local function next_number()
  if not low then
    head = head + 1
    return head
  end
  local hole = low
  if low < high then
    low = low + 1
    redis.call('LSET', KEYS[4], 0, string.format('%d-%d', low, high))
  else
    redis.call('LPOP', KEYS[4])
    first_hole()
  end
  return hole
end

local answers = {}
for i = 1, count do
  local at = 1 + 4 * i
  local id, ts, member, unknown = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3]
  local list = sends(KEYS[4 + i])
  local known = find(list, id, ts)
  if not known and unknown ~= 'new' then
    -- Its send may have run out while the message itself still waits for the archive.
    local held = redis.call('ZSCORE', KEYS[3], member)
    known = held and epoch .. ' ' .. held .. ' ' .. id .. ' ' .. ARGV[at + 1]
  end
  if not known and repeats(unknown, id, ts) then
    known = unknown
  end
  if known then
    answers[i] = known
  else
    local seq = next_number()
    -- Ids that a later message takes over are kept while their message may be unarchived; eight is more
    -- than come together: each is a window apart from the next.
    local value, kept = epoch .. '\n' .. epoch .. ' ' .. seq .. ' ' .. id .. ' ' .. ARGV[at + 1], 1
    for entry in string.gmatch(list, '[^\n]+') do
      if kept < 8 then
        value, kept = value .. '\n' .. entry, kept + 1
      end
    end
    redis.call('SET', KEYS[4 + i], value, 'PX', keep_ms)
    redis.call('ZADD', KEYS[3], seq, member)
    answers[i] = seq
  end
end
if head ~= given then
  redis.call('HSET', KEYS[2], 'head', head)
end
redis.call('PEXPIRE', KEYS[2], keep_ms)
redis.call('PEXPIRE', KEYS[3], keep_ms)
redis.call('PEXPIRE', KEYS[4], keep_ms)

local lowest = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2]
local reply = {'numbered', head, low or 0, tonumber(lowest or '0'), fresh and 1 or 0}
for i = 1, count do
  reply[5 + i] = answers[i]
end
return reply
