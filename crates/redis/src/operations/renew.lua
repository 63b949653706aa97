-- KEYS: lock, clients. ARGV: nonce, new lease in ms or 0 to only look, 'set' if the lease may become shorter, how many
-- times that was asked for, this time included, token, and the client's part of the record.
-- Returns 1 if this nonce holds the lock, 0 if nobody does, -1 if somebody else does.
local value = redis.call('GET', KEYS[1])
if nonce_of(value) ~= ARGV[1] then
  drop_leftover(ARGV[1])
  return value and -1 or 0
end
local record, _, set_before = record_of(ARGV[1])
local lease, sets, times = tonumber(ARGV[2]), ARGV[3] == 'set', tonumber(ARGV[4])
local new_lease = lease > 0 and times > (set_before or 0)
if new_lease then
  -- Whatever was asked for before, and arrives later, sets nothing any more.
  if not sets then lease = math.max(lease, redis.call('PTTL', KEYS[1])) end
  -- In this order: where memory is short, a script may begin with this, and not with SET.
  redis.call('PEXPIRE', KEYS[1], lease)
elseif lease > 0 and (not sets or times == set_before) then
  raise_lease(lease, record)
end
if new_lease or not record then
  local token = ARGV[5] .. (times > 0 and '/' .. ARGV[4] or '')
  own(ARGV[1], token, ARGV[6], math.max(redis.call('PTTL', KEYS[1]), 1))
end
if attempts(value) > MANY then expect_company(value, 1) end
heard_from(string.match(ARGV[6], '^%S+'))
return 1
