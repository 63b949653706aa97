-- KEYS: lock, clients, holders, queue, fence register. ARGV: nonce, lease in ms, how many may share the lock (0: any number; for
-- an exclusive one, too), what channels begin with; to join the queue if need be, the client's part of the record, else '' or
-- nothing; and '1', or '0' if messages do not reach the client. The nonces of other attempts may follow, for which all of this is
-- the same.
-- Returns the token (an integer), or {attempts since the grant, lease left in ms, the owner record or the nonce of the holder
-- or '', server time in microseconds, ticket, place in the queue}; of several attempts, a list of what there is to return of each.
-- A key of a foreign type makes it fail before the first write. (Only who waits looks at those of queue and clients.)
return each(7, function(mine)
  local now, token = next_token()
  local lease, limit = tonumber(ARGV[2]), tonumber(ARGV[3])
  local value, count = current(now)
  -- A take that looked at nothing but whether the lock is free.
  local just_taken = value == word(mine, 1)
  if not token then
    if just_taken then redis.call('DEL', KEYS[1]) end
    return no_token()
  end
  local waiting = waiters()
  if waiting > 0 then
    -- The lease of the last holder has ended: those who wait come first.
    if just_taken then value, count = false, 0 end
    if next_fits(value, count) and keep_token(token) then
      token = (hand_over(now, token, ARGV[4], nil, value, count) or token) + 1
    end
    value, count = current(now)
    waiting = waiters()
  end
  local text, is_held = digits(token), holds(mine, value, now)

  if not is_held and fits(value, count, mine, limit) and (waiting == 0 or count == 0) then
    redis.call('SET', KEYS[5], text)
    let_in(value, mine, lease, now, waiting > 0)
    return token
  end
  local client = ARGV[5] and string.match(ARGV[5], '^%S+')
  if is_held then
    -- Sent again: the lease is a full one from now on, as whoever gets this answer counts it. Nobody has heard of a token
    -- that is in no record.
    local record, granted = record_of(mine)
    if not granted then
      redis.call('SET', KEYS[5], text)
      granted = token
    end
    raise_lease(value, mine, lease, record, now)
    if just_taken and waiting > 0 then expect_company(value) end
    if client then heard_from(client) end
    return granted
  end

  local waiter, ticket, signs
  if client then
    waiter = mine .. ' ' .. ARGV[2] .. (limit > 0 and '/' .. ARGV[3] or '') .. ' ' .. ARGV[5]
    ticket, signs = redis.call('ZSCORE', KEYS[4], waiter), signs_of(client)
  end

  -- Counted like an attempt of lock-inc 1.2.0, which looks at nothing but this number.
  redis.call('INCR', KEYS[1])
  local tried, left, who = in_the_way(value, now, limit > 0)
  if tried > MANY and (nonce_of(value) or is_group(value)) then expect_company(value, 2) end
  if not client then return {tried + 1, left, who, now, 0, 0} end

  if not ticket then
    redis.call('ZADD', KEYS[4], text, waiter)
    redis.call('SET', KEYS[5], text)
    ticket, waiting = token, waiting + 1
  end
  mark_alive(client, signs, now, ARGV[6], waiting == 1)
  return {tried + 1, left, who, now, tonumber(ticket), waiting}
end)
