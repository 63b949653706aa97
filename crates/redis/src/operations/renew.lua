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
local record, _, set_before = record_of(mine)
local lease, sets, times = tonumber(ARGV[2]), ARGV[3] == 'set', tonumber(ARGV[4])
if lease > 0 then
  -- Whatever was asked for before, and arrives later, sets nothing any more.
  if sets and times > (set_before or 0) then
    set_lease(value, mine, lease, now)
  elseif not sets or times == set_before then
    raise_lease(value, mine, lease, record, now)
  end
end
if not record or lease > 0 and times > set_before then
  own(mine, ARGV[5] .. (times > 0 and '/' .. ARGV[4] or ''), ARGV[6])
end
if attempts(value) > MANY then expect_company(value, 1) end
heard_from(string.match(ARGV[6], '^%S+'))
return 1
