-- KEYS: lock, clients, fence register, queue. ARGV: what channels begin with; the number of a locker and its id, for a
-- holder that the record does not tell, or twice ''; and, to remove no other lock than one that was seen, its value, or ''
-- if there was none.
-- Returns 1 if a lock was removed, else 0.
-- The holder is told which lock it has lost. Without permission to publish it learns of it at its next renewal or
-- unlock. The lock goes to whoever waits for it.
local value = redis.pcall('GET', KEYS[1])
value = type(value) == 'string' and value
local nonce = nonce_of(value)
local record, granted = record_of(nonce)
if ARGV[4] then
  -- Sent again, it must not take the lock of whoever came next. The count of lock-inc 1.2.0 only grows while one holder has
  -- the lock.
  local seen = nonce_of(ARGV[4])
  if nonce and nonce ~= seen then return 0 end
  if value and not nonce and (seen or (tonumber(value) or 0) < (tonumber(ARGV[4]) or 0)) then return 0 end
end
local there, waiting = redis.call('EXISTS', KEYS[1]), waiters()
redis.call('DEL', KEYS[1])
disown(waiting)
local client = record and string.match(record, '^%S+ %S+ (%S+)')
if nonce and string.sub(nonce, 1, 6) == ARGV[2] then client = client or ARGV[3] end
if client then
  -- It is not to blame that it gives no sign of life about this lock.
  heard_from(client)
  redis.pcall('PUBLISH', ARGV[1] .. client, 'lost ' .. nonce .. ' ' .. digits(granted or 0) .. ' ' .. KEYS[1])
end
if waiting == 0 then return there end
local now, token = take_token()
if token then hand_over(now, token, ARGV[1]) end
return there
