-- KEYS: lock, owner record, fence register. ARGV: nonce, lease in ms, the client's part of the record.
-- Returns the token (an integer), or {attempts since the grant, lease left in ms, owner record or ''}.
-- A lock or a register of a foreign type makes it fail before the first write.
local last = tonumber(redis.call('GET', KEYS[3]) or 0)
if not last or last > 9007199254740990 then
  return redis.error_reply('WRONGTYPE the fence register ' .. KEYS[3] .. ' does not hold a token')
end
local time = redis.call('TIME')
local token = math.max(time[1] * 1000000 + time[2], last + 1)
local text = string.format('%.0f', token)

if redis.call('SET', KEYS[1], text, 'NX', 'PX', ARGV[2]) then
  local since = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('SET', KEYS[3], text)
  redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. text .. ' ' .. since .. ' ' .. ARGV[3], 'PX', ARGV[2])
  return token
end

-- Counted like an attempt of lock-inc 1.2.0, which looks at nothing but this number.
local count = redis.call('INCR', KEYS[1])
local record, nonce, granted = bound_owner(count - 1)
if nonce == ARGV[1] then
  -- Sent again: the lease is a full one from now on, as whoever gets this answer counts it.
  redis.call('DECR', KEYS[1])
  raise_lease(ARGV[2])
  return granted
end
local left = redis.call('PTTL', KEYS[1])
if left == -1 then
  -- A 1.2.0 client died between its INCR and its EXPIRE.
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  left = tonumber(ARGV[2])
end
if granted then count = count - granted + 1 end
return {count, left, record or ''}
