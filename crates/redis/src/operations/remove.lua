-- KEYS: lock, owner record, fence register, queue, clients alive. ARGV: what channels begin with, and, to remove no
-- other lock than one that was seen, its value and its owner record, each '' if there was none.
-- Returns 1 if a lock was removed, else 0.
-- The holder is told which lock it has lost. Without permission to publish it learns of it at its next renewal or
-- unlock. The lock goes to whoever waits for it.
local value = redis.pcall('GET', KEYS[1])
local record, nonce, granted = bound_owner(type(value) == 'string' and tonumber(value))
if ARGV[2] then
  -- Sent again, it must not take the lock of whoever came next. A value only grows while one holder has the lock.
  local is_another = nonce and nonce ~= string.match(ARGV[3], '^%S*')
  if is_another or value and (tonumber(value) or 0) < (tonumber(ARGV[2]) or 0) then return 0 end
end
local there, waiting = redis.call('EXISTS', KEYS[1]), waiters()
redis.call('DEL', KEYS[1], KEYS[2])
if record then
  local client = string.match(record, '^%S+ %S+ (%S+)')
  if client then
    -- It is not to blame that it gives no sign of life about this lock.
    heard_from(client)
    redis.pcall('PUBLISH', ARGV[1] .. client, 'lost ' .. digits(granted) .. ' ' .. KEYS[1])
  end
end
if waiting == 0 then
  redis.call('DEL', KEYS[5])
  return there
end
local now, token = take_token()
if token then hand_over(now, token, ARGV[1]) end
return there
