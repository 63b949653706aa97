-- KEYS: lock, clients, holders, queue, fence register. ARGV: nonce, client, what channels begin with, and for a call that may
-- wait in the queue its member there, else '' or nothing. Other nonces may follow, for which all of this is the same.
-- Returns 0 if this nonce did not hold the lock, 1 if it did, or a list if it did and the lock goes to other calls of this
-- client: {nonce, token, lease in ms}, one behind the other. Of several nonces, a list of what there is to return of each.
-- A lock of a foreign type makes it fail.
return each(5, function(mine)
  local waiting = waiters()
  local value = redis.call('GET', KEYS[1])
  local is_one_of_many = is_group(value)
  local now = is_one_of_many and time()
  if not holds(mine, value, now) then
    heard_from(ARGV[2])
    disown(mine)
    if ARGV[4] and waiting > 0 and leave(ARGV[4]) then pass_on(now or time(), ARGV[3]) end
    if not value then redis.call('DEL', KEYS[3]) end
    if not value and waiting == 0 then redis.call('DEL', KEYS[2]) end
    return 0
  end
  value = false
  local count = 0
  if is_one_of_many then
    redis.call('ZREM', KEYS[3], mine)
    value, count = current(now)
  end
  if count > 0 then shrink(now) end
  if waiting > 0 then
    local grants = {}
    if give_on(value, count, ARGV[3], ARGV[2], grants, mine) then return #grants > 0 and grants or 1 end
  end
  disown(mine)
  if count == 0 then redis.call('DEL', KEYS[1]) end
  if count == 0 and waiting == 0 then redis.call('DEL', KEYS[2]) end
  return 1
end)
