-- KEYS: lock, owner record, fence register, queue, clients alive. ARGV: nonce, lease in ms, the client's part of the
-- record, what channels begin with, and to join the queue if need be '1', or '0' if messages do not reach the client.
-- Returns the token (an integer), or {attempts since the grant, lease left in ms, owner record or '', server time in
-- microseconds, ticket, place in the queue}.
-- A key of a foreign type makes it fail before the first write. (That of the record is overwritten; and only who waits looks
-- at those of the queue.)
local now, token = next_token()
if not token then return no_token() end
local waiting = waiters()
if waiting > 0 and redis.call('EXISTS', KEYS[1]) == 0 then
  -- The lease of the last holder has ended: those who wait come first.
  if keep_token(token) and hand_over(now, token, ARGV[4]) then token = token + 1 end
  waiting = waiters()
end
local text, client = digits(token), string.match(ARGV[3], '^%S+')

if redis.call('SET', KEYS[1], text, 'NX', 'PX', ARGV[2]) then
  redis.call('SET', KEYS[3], text)
  own(ARGV[1], token, ARGV[3], ARGV[2])
  return token
end

local waiter, ticket, signs
if ARGV[5] then
  waiter = ARGV[1] .. ' ' .. ARGV[2] .. ' ' .. ARGV[3]
  ticket, signs = redis.call('ZSCORE', KEYS[4], waiter), signs_of(client)
end

-- Counted like an attempt of lock-inc 1.2.0, which looks at nothing but this number.
local count = redis.call('INCR', KEYS[1])
local record, nonce, granted = bound_owner(count - 1)
if nonce == ARGV[1] then
  -- Sent again: the lease is a full one from now on, as whoever gets this answer counts it.
  redis.call('DECR', KEYS[1])
  raise_lease(ARGV[2])
  heard_from(client)
  return granted
end
local left = lease_left()
if granted then count = count - granted + 1 end
if not ARGV[5] then return {count, left, record or '', now, 0, 0} end

if not ticket then
  redis.call('ZADD', KEYS[4], text, waiter)
  redis.call('SET', KEYS[3], text)
  ticket, waiting = token, waiting + 1
end
mark_alive(client, signs, now, ARGV[5], waiting == 1)
return {count, left, record or '', now, tonumber(ticket), waiting}
