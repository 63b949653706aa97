-- KEYS: lock, clients, holders, queue, fence register. ARGV: what channels begin with; the value of the lock that was seen, '' if
-- there was none, and no other lock is to be removed, or '*' for whatever lock there is; and pairs of nonce and client of those
-- who had it then, '' where it is not known which client that is.
-- Returns 1 if a lock was removed, else 0.
-- The holders are told which lock they have lost. It goes to whoever waits for it.
local value = redis.pcall('GET', KEYS[1])
value = type(value) == 'string' and value
local is_any, clients = ARGV[2] == '*', seen(3)
local lost, now, count = {}, time(), 0
if is_group(value) then value, count = current(now) end
local there = redis.call('EXISTS', KEYS[1])

-- Sent again, it must not take the lock of whoever came next. The count of lock-inc 1.2.0 only grows while one holder has
-- the lock.
local all = holders(value)
for _, nonce in ipairs(all) do
  if is_any or clients[nonce] then lost[#lost + 1] = nonce end
end
local was_ours = nonce_of(ARGV[2]) or is_group(ARGV[2])
local is_newer = was_ours or ARGV[2] == '' or value and #value == 19 and #ARGV[2] ~= 19
  or (tonumber(value) or 0) < (tonumber(ARGV[2]) or 0)
if #all > 0 and #lost == 0 or #all == 0 and value and not is_any and is_newer then return 0 end

local waiting = waiters()
count = math.max(count - #lost, 0)
if count > 0 then
  for _, nonce in ipairs(lost) do redis.call('ZREM', KEYS[3], nonce) end
  shrink(now)
else
  value = false
  redis.call('DEL', KEYS[1], KEYS[3])
end
for _, nonce in ipairs(lost) do take_from(nonce, clients[nonce], ARGV[1]) end
if count == 0 and waiting == 0 then redis.call('DEL', KEYS[2]) end
if waiting > 0 then give_on(value, count, ARGV[1]) end
return there
