-- KEYS: lock, owner record, fence register, queue, clients alive. ARGV: what channels begin with.
-- Returns 1 if there was a lock, else 0.
-- The holder is told which lock it has lost. Without permission to publish it learns of it at its next renewal or
-- unlock. The lock goes to whoever waits for it.
local value = redis.pcall('GET', KEYS[1])
local record, _, granted = bound_owner(type(value) == 'string' and tonumber(value))
local there = redis.call('EXISTS', KEYS[1])
redis.call('DEL', KEYS[1], KEYS[2])
if record then
  local client = string.match(record, '^%S+ %d+ (%S+)')
  if client then
    redis.pcall('PUBLISH', ARGV[1] .. client, 'lost ' .. digits(granted) .. ' ' .. KEYS[1])
  end
end
local waiting = waiters()
if waiting == 0 then
  redis.call('DEL', KEYS[5])
  return there
end
local now, token = take_token()
if token then hand_over(now, token, waiting, ARGV[1]) end
return there
