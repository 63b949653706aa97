-- KEYS: lock, owner record, clients alive. ARGV: nonce, new lease in ms or 0 to only look, 'set' if the lease may become
-- shorter, and how many times that was asked for, this time included.
-- Returns 1 if this nonce holds the lock, 0 if nobody does, -1 if somebody else does.
local value = tonumber(redis.call('GET', KEYS[1]) or nil)
local record, nonce, _, set_before = bound_owner(value)
if nonce ~= ARGV[1] then
  drop_leftover(ARGV[1])
  return value and -1 or 0
end
local lease, sets, times = tonumber(ARGV[2]), ARGV[3] == 'set', tonumber(ARGV[4])
if lease > 0 and times > set_before then
  -- Whatever was asked for before, and arrives later, sets nothing any more.
  if not sets then lease = math.max(lease, redis.call('PTTL', KEYS[1])) end
  -- In this order: where memory is short, a script may begin with this, and not with SET.
  redis.call('PEXPIRE', KEYS[1], lease)
  redis.call('SET', KEYS[2], (string.gsub(record, '^(%S+ %d+)%S*', '%1/' .. ARGV[4])), 'PX', lease)
elseif lease > 0 and (not sets or times == set_before) then
  raise_lease(lease)
end
-- A sign of life after a hand-over, see queue.lua.
redis.pcall('HDEL', KEYS[3], 'granted:' .. string.match(record, '^%S+ %S+ (%S+)'))
return 1
