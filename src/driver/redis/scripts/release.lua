-- KEYS: lock, owner record. ARGV: nonce. Returns 1 if this nonce held the lock, else 0.
local _, nonce = bound_owner(tonumber(redis.call('GET', KEYS[1]) or nil))
if nonce == ARGV[1] then
  redis.call('DEL', KEYS[1], KEYS[2])
  return 1
end
drop_leftover(ARGV[1])
return 0
