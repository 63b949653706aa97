-- KEYS[2]: who has to do with the lock, a hash. No lock depends on it; what is of a foreign type says nothing: pcall.
--   holder:<nonce>: who holds it, '<nonce> <token> <client> <pid> <host> <name>'. A slash and how many times the lease was set
--     may follow the token.
--   <client>, for each client with waiters: until when it counts as alive, in ms of the server's clock, negative for one
--     that no message reaches.
--   granted:<client>: the end of the first lease that it was handed last, until it has given a sign of life.

-- For so long after its last poll a client counts as alive: three times the longest time between two of them.
local ALIVE = 15000

-- Gives a key a lease of `ms`, unless it has a longer one.
local function keep(key, ms)
  if redis.call('PTTL', key) < tonumber(ms) then redis.call('PEXPIRE', key, ms) end
end

-- Gives a key a lease of `ms` if it has a longer one.
local function cut(key, ms)
  if redis.call('PTTL', key) > ms then redis.call('PEXPIRE', key, digits(ms)) end
end

-- Says who a holder is. `part`: what its client says of itself. Further fields and values may follow. A server without memory
-- need not know. keep_records is to follow.
local function record(nonce, token, part, ...)
  redis.pcall('HSET', KEYS[2], holder(nonce), nonce .. ' ' .. token .. ' ' .. part, ...)
end

-- Removes what is said of a holder whose lock is over.
local function disown(nonce) redis.pcall('HDEL', KEYS[2], holder(nonce)) end

-- What is said of holders is kept for as long as the lock has a lease, and somebody else in KEYS[2] may count as alive. `nonce`:
-- of the one holder, if that is named for the first time: those that were named before have let their leases end.
local function keep_records(nonce)
  local count = redis.pcall('HLEN', KEYS[2])
  if type(count) ~= 'number' or count == 0 then return end
  if nonce and count > 8 then
    local fields = redis.call('HGETALL', KEYS[2])
    for index = 1, #fields, 2 do
      local former = string.match(fields[index], '^' .. holder('(%d+)$'))
      if former and former ~= nonce then disown(former) end
    end
  end
  local left = math.max(redis.call('PTTL', KEYS[1]), 1)
  redis.call('PEXPIRE', KEYS[2], count == 1 and left or math.max(left, ALIVE))
end

local function grant_of(client) return 'granted:' .. client end

-- A client has given a sign of life.
local function heard_from(client) redis.pcall('HDEL', KEYS[2], grant_of(client)) end
