-- KEYS: lock, clients, fence register, queue. ARGV: nonce, lease in ms, what channels begin with; and, to join the queue if
-- need be, the client's part of the record, and '1', or '0' if messages do not reach the client.
-- Returns the token (an integer), or {attempts since the grant, lease left in ms, the owner record or the nonce of the holder
-- or '', server time in microseconds, ticket, place in the queue}.
-- A key of a foreign type makes it fail before the first write. (Only who waits looks at those of queue and clients.)
local now, token = next_token()
local value = redis.call('GET', KEYS[1])
-- A take that looked at nothing but whether the lock is free.
local just_taken = value == word(ARGV[1], 1)
if not token then
  if just_taken then redis.call('DEL', KEYS[1]) end
  return no_token()
end
local waiting = waiters()
if waiting > 0 and (just_taken or not value) then
  -- The lease of the last holder has ended: those who wait come first.
  if keep_token(token) and hand_over(now, token, ARGV[3]) then token = token + 1 end
  value, waiting = redis.call('GET', KEYS[1]), waiters()
end
local text = digits(token)

if not value then
  redis.call('SET', KEYS[1], word(ARGV[1], waiting > 0 and COMPANY + 1 or 1), 'PX', ARGV[2])
  redis.call('SET', KEYS[3], text)
  return token
end
local nonce, client = nonce_of(value), ARGV[4] and string.match(ARGV[4], '^%S+')
local record, granted = record_of(nonce)
if nonce == ARGV[1] then
  -- Sent again: the lease is a full one from now on, as whoever gets this answer counts it. Nobody has heard of a token
  -- that is in no record.
  if not granted then
    redis.call('SET', KEYS[3], text)
    granted = token
  end
  raise_lease(ARGV[2], record)
  if just_taken and waiting > 0 then expect_company(value) end
  if client then heard_from(client) end
  return granted
end

local waiter, ticket, signs
if ARGV[4] then
  waiter = ARGV[1] .. ' ' .. ARGV[2] .. ' ' .. ARGV[4]
  ticket, signs = redis.call('ZSCORE', KEYS[4], waiter), signs_of(client)
end

-- Counted like an attempt of lock-inc 1.2.0, which looks at nothing but this number.
redis.call('INCR', KEYS[1])
local count, left = attempts(value) + 1, lease_left()
if nonce and count > MANY then expect_company(value, 2) end
local holder = record or nonce or ''
if not ARGV[4] then return {count, left, holder, now, 0, 0} end

if not ticket then
  redis.call('ZADD', KEYS[4], text, waiter)
  redis.call('SET', KEYS[3], text)
  ticket, waiting = token, waiting + 1
end
mark_alive(client, signs, now, ARGV[5], waiting == 1)
return {count, left, holder, now, tonumber(ticket), waiting}
