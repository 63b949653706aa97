-- KEYS: lock, clients, holders. ARGV: nonce, new lease in ms or 0 to only look, 'set' if the lease may become shorter, how many
-- times that was asked for, this time included, token, and the client's part of the record.
-- Returns 1 if this nonce holds the lock, 0 if nobody does, -1 if somebody else does.
local value, mine = redis.call('GET', KEYS[1]), ARGV[1]
local is_one_of_many = is_group(value)
local now = is_one_of_many and time()
if not holds(mine, value, now) then
  disown(mine)
  if not value then
    redis.call('DEL', KEYS[3])
    -- It may have had a longer lease than what is said of others is kept for.
    if redis.call('PTTL', KEYS[2]) > ALIVE then redis.call('PEXPIRE', KEYS[2], ALIVE) end
  end
  return value and -1 or 0
end
local known, _, set_before = record_of(mine)
local lease, sets, times = tonumber(ARGV[2]), ARGV[3] == 'set', tonumber(ARGV[4])
if lease > 0 then
  -- Whatever was asked for before, and arrives later, sets nothing any more. Without a record nobody knows what was.
  local is_next = known and times > set_before or not known and times == 1
  if sets and is_next then
    set_lease(value, mine, lease, now)
  elseif not sets or not known or times == set_before then
    raise_lease(value, mine, lease, known, now)
  end
end
if not known or lease > 0 and times > set_before then
  record(mine, ARGV[5] .. (times > 0 and '/' .. ARGV[4] or ''), ARGV[6])
  keep_records(not known and nonce_of(value))
end
-- Where memory is short, that can wait.
if attempts(value) > MANY then redis.pcall('SET', KEYS[1], word(string.sub(value, 1, 13), COMPANY + 1), 'KEEPTTL') end
heard_from(string.match(ARGV[6], '^%S+'))
return 1
