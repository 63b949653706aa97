-- KEYS: lock, clients, queue.
-- Returns {attempts since the grant or 0 if nobody holds the lock, lease left in ms, the owner record or the nonce of the
-- holder or '', then ticket and queue member of each waiter that is alive, in order}.
local value = redis.call('GET', KEYS[1])
if value and not tonumber(value) then return {0, 0, ''} end
local nonce = nonce_of(value)
local reply = {value and attempts(value) or 0, redis.call('PTTL', KEYS[1]), record_of(nonce) or nonce or ''}

local alive = {}
local time = redis.call('TIME')
local clients = redis.call('HGETALL', KEYS[2])
for index = 1, #clients, 2 do
  alive[clients[index]] = math.abs(tonumber(clients[index + 1]) or 0)
end
local waiters = redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')
for index = 1, #waiters, 2 do
  local client = string.match(waiters[index], '^%S+ %d+ (%S+)')
  if (alive[client] or 0) > time[1] * 1000 then
    reply[#reply + 1] = tonumber(waiters[index + 1])
    reply[#reply + 1] = waiters[index]
  end
end
return reply
