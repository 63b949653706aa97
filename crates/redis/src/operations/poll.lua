-- What a client sends for those of its calls that wait for a lock: when their timer fires, after a reconnect, and as a
-- last look before they give up.
-- KEYS: lock, clients, holders, queue, fence register. ARGV: client, what channels begin with, '1' if messages reach the client,
-- '1' for a last look, then ticket and queue member of each waiter.
-- Returns {server time in microseconds, how many of them were not in the queue, after a last look their places in it, the
-- grants to some of them (nonce, token, lease in ms, one behind the other), attempts since the grant or 0 if nobody holds the
-- lock, lease left in ms, the owner record or the nonce of the holder or ''}.
local now, token = next_token()
if not token then return no_token() end
local value, count = current(now)
-- All that may fail comes before the first write.
local waiting, signs = redis.call('ZCARD', KEYS[4]), signs_of(ARGV[1])

local joined, grants = 0, {}
for index = 5, #ARGV, 2 do
  local nonce, lease = parse(ARGV[index + 1])
  if holds(nonce, value, now) then
    -- The message about it was lost, or has yet to come.
    local record, granted = record_of(nonce)
    raise_lease(value, nonce, lease, record, now)
    if not granted and keep_token(token) then granted, token = token, token + 1 end
    heard_from(ARGV[1])
    if granted then add_grant(grants, nonce, granted, lease) end
  else
    joined = joined + redis.call('ZADD', KEYS[4], 'NX', ARGV[index], ARGV[index + 1])
  end
end
waiting = waiting + joined
if waiting > 0 then mark_alive(ARGV[1], signs, now, ARGV[3], true) end
if nonce_of(value) and joined > 0 then expect_company(value) end

local owner = nonce_of(value)
if count == 0 or waiting > 0 and (is_group(value) or owner and is_shared(owner)) then
  if keep_token(token) then hand_over(now, token, ARGV[2], ARGV[1], value, count, grants) end
  value = redis.call('GET', KEYS[1])
end
local places = {}
if ARGV[4] == '1' then
  for index = 6, #ARGV, 2 do places[#places + 1] = (redis.call('ZRANK', KEYS[4], ARGV[index]) or -1) + 1 end
  for index = 6, #ARGV, 2 do leave(ARGV[index]) end
  -- Those behind them may be next.
  pass_on(now, ARGV[2])
  value = redis.call('GET', KEYS[1])
end
-- The first lease that ends is that of a waiter, too, if its grant is still to be heard of.
return {now, joined, places, grants, in_the_way(value, now, true)}
