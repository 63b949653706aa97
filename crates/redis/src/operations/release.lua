-- KEYS: lock, clients, fence register, queue. ARGV: nonce, client, what channels begin with, and for a call that may wait
-- in the queue its member there.
-- Returns 0 if this nonce did not hold the lock, 1 if it did, or {nonce, token, lease in ms} if it did and the lock
-- goes to another call of this client.
-- A lock of a foreign type makes it fail.
local waiting = waiters()
if nonce_of(redis.call('GET', KEYS[1])) ~= ARGV[1] then
  heard_from(ARGV[2])
  drop_leftover(ARGV[1])
  if ARGV[4] and waiting > 0 then leave(ARGV[4]) end
  return 0
end
if waiting > 0 then
  local now, token = take_token()
  heard_from(ARGV[2])
  if token then
    local done, mine = hand_over(now, token, ARGV[3], ARGV[2])
    if done then return mine or 1 end
  end
end
redis.call('DEL', KEYS[1])
disown(waiting)
return 1
