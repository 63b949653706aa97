-- KEYS: lock, owner record. ARGV: nonce. Returns 1 if this nonce held the lock, else 0.
local _, nonce = bound_owner(tonumber(redis.call('GET', KEYS[1]) or nil))
if nonce == ARGV[1] then
  redis.call('DEL', KEYS[1], KEYS[2])
  return 1
end
-- Not held (any more). The record of a lock that an old client deleted may still be ours: it goes too.
local record = redis.call('GET', KEYS[2])
if record and string.sub(record, 1, #ARGV[1] + 1) == ARGV[1] .. ' ' then redis.call('DEL', KEYS[2]) end
return 0
