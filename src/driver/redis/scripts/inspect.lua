-- KEYS: lock, owner record.
-- Returns {attempts since the grant, lease left in ms, owner record or ''}, or nothing if nobody holds the lock.
local count = tonumber(redis.call('GET', KEYS[1]) or nil)
if not count then return end
local record, _, granted = bound_owner(count)
if granted then count = count - granted + 1 end
return {count, redis.call('PTTL', KEYS[1]), record or ''}
