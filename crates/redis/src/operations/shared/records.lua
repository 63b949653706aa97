-- In KEYS[2], see clients.lua: who holds the lock.
local function holder(nonce) return 'holder:' .. nonce end

-- What is said of the holder with this nonce, if anything is: the record, the token, and how many times the lease was set.
local function record_of(nonce)
  local record = nonce and redis.pcall('HMGET', KEYS[2], holder(nonce))[1]
  if not record then return end
  local token, set = string.match(record, '^%S+ (%d+)/?(%d*) ')
  if token then return record, tonumber(token), tonumber(set) or 0 end
end
