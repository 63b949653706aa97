-- Takes the lock from whoever has it, before those who wait.
-- KEYS: lock, clients, holders, queue, fence register. ARGV: nonce, lease in ms, what channels begin with, '*' to take it from whoever
-- has it, and pairs of nonce and client of those who have it, '' where it is not known which client that is.
-- Returns the token, or false where there are others who have it.
-- A key of a foreign type makes it fail before the first write.
local now, token = next_token()
local mine, clients = ARGV[1], seen(5)
local value, count = current(now)
if not token then return no_token() end
if value and not tonumber(value) then return redis.error_reply('WRONGTYPE ' .. KEYS[1] .. ' does not hold a lock') end
local record, granted = record_of(mine)
if holds(mine, value, now) and not is_group(value) then
  -- Sent again.
  if not granted then
    redis.call('SET', KEYS[5], digits(token))
    granted = token
  end
  raise_lease(value, mine, ARGV[2], record, now)
  return granted
end
local robbed = holders(value)
for _, nonce in ipairs(robbed) do
  if ARGV[4] ~= '*' and not clients[nonce] then return false end
end
local waiting = waiters()
redis.call('SET', KEYS[5], digits(token))
redis.call('SET', KEYS[1], word(mine, waiting > 0 and COMPANY + 1 or 1), 'PX', ARGV[2])
if is_group(value) then redis.call('DEL', KEYS[3]) end
cut(KEYS[2], math.max(tonumber(ARGV[2]), ALIVE))
for _, nonce in ipairs(robbed) do take_from(nonce, clients[nonce], ARGV[3], 'stolen') end
return token
