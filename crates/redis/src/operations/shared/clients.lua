-- KEYS[2]: who has to do with the lock, a hash. No lock depends on it; what is of a foreign type says nothing: pcall.
--   holder: who holds it, '<nonce> <token> <client> <pid> <host> <name>'. A slash and how many times the lease was set may
--     follow the token.
--   <client>, for each client with waiters: until when it counts as alive, in ms of the server's clock, negative for one
--     that no message reaches.
--   granted:<client>: the end of the first lease that it was handed, until it has given a sign of life.

-- For so long after its last poll a client counts as alive: three times the longest time between two of them.
local ALIVE = 15000

-- Gives a key a lease of `ms`, unless it has a longer one.
local function keep(key, ms)
  if redis.call('PTTL', key) < tonumber(ms) then redis.call('PEXPIRE', key, ms) end
end

-- Says who the holder is, for `ms`, and for as long as somebody else in KEYS[2] may count as alive. `part`: what its client
-- says of itself. Further fields and values may follow. A server without memory need not know.
local function own(nonce, token, part, ms, ...)
  local done = redis.pcall('HSET', KEYS[2], 'holder', nonce .. ' ' .. token .. ' ' .. part, ...)
  if type(done) ~= 'number' then return end
  local alone = redis.call('HLEN', KEYS[2]) == 1
  redis.call('PEXPIRE', KEYS[2], alone and ms or math.max(ms, ALIVE))
end

-- A lock is over. KEYS[2] stays where others wait.
local function disown(waiting)
  if waiting > 0 then redis.pcall('HDEL', KEYS[2], 'holder') else redis.call('DEL', KEYS[2]) end
end

-- Removes what is left of a lock of this nonce that an old client has deleted.
local function drop_leftover(nonce)
  if record_of(nonce) then redis.call('HDEL', KEYS[2], 'holder') end
end

local function grant_of(client) return 'granted:' .. client end

-- A client has given a sign of life.
local function heard_from(client) redis.pcall('HDEL', KEYS[2], grant_of(client)) end
