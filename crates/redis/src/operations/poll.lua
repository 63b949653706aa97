-- What a client sends for those of its calls that wait for a lock: when their timer fires, after a reconnect, and as a
-- last look before they give up.
-- KEYS: lock, clients, fence register, queue. ARGV: client, what channels begin with, '1' if messages reach the client,
-- '1' for a last look, then ticket and queue member of each waiter.
-- Returns {server time in microseconds, how many of them were not in the queue, after a last look their places in it,
-- {nonce, token, lease in ms} of a grant to one of them or false, attempts since the grant or 0 if nobody holds the
-- lock, lease left in ms, the owner record or the nonce of the holder or ''}.
local now, token = next_token()
if not token then return no_token() end
local value = redis.call('GET', KEYS[1])
local owner = nonce_of(value)
local record, granted = record_of(owner)
-- All that may fail comes before the first write.
local waiting, signs = redis.call('ZCARD', KEYS[4]), signs_of(ARGV[1])

local joined, grant = 0, false
for index = 5, #ARGV, 2 do
  local nonce, lease = string.match(ARGV[index + 1], '^(%S+) (%d+)')
  if nonce == owner then
    -- The message about it was lost, or has yet to come.
    raise_lease(lease, record)
    if not granted and keep_token(token) then granted = token end
    heard_from(ARGV[1])
    grant = granted and { owner, granted, tonumber(lease) } or false
  else
    joined = joined + redis.call('ZADD', KEYS[4], 'NX', ARGV[index], ARGV[index + 1])
  end
end
waiting = waiting + joined
if waiting > 0 then mark_alive(ARGV[1], signs, now, ARGV[3], true) end
if owner and joined > 0 then expect_company(value) end

if not value then
  local _, mine
  if keep_token(token) then _, mine = hand_over(now, token, ARGV[2], ARGV[1]) end
  grant = mine or false
  value = redis.call('GET', KEYS[1])
  owner = nonce_of(value)
  record = record_of(owner)
end
local places = {}
if ARGV[4] == '1' then
  for index = 6, #ARGV, 2 do places[#places + 1] = (redis.call('ZRANK', KEYS[4], ARGV[index]) or -1) + 1 end
  for index = 6, #ARGV, 2 do leave(ARGV[index]) end
end
return {now, joined, places, grant, value and attempts(value) or 0, lease_left(), record or owner or ''}
