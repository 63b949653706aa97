-- KEYS: lock, owner record, clients alive. ARGV: nonce, new lease in ms or 0 to only look, 'set' if the lease may become
-- shorter.
-- Returns 1 if this nonce holds the lock, 0 if nobody does, -1 if somebody else does.
local value = tonumber(redis.call('GET', KEYS[1]) or nil)
local _, nonce = bound_owner(value)
if nonce ~= ARGV[1] then
  drop_leftover(ARGV[1])
  return value and -1 or 0
end
if ARGV[3] == 'set' then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
elseif ARGV[2] ~= '0' then
  raise_lease(ARGV[2])
end
-- A sign of life after a hand-over.
redis.call('HDEL', KEYS[3], 'granted')
return 1
