-- Reads the owner record KEYS[2]. The owner is bound only while the value of the lock, KEYS[1], has not fallen
-- below its token: a lock-inc 1.2.0 client that deletes the key and takes it again starts to count at 1.
-- `value`: what KEYS[1] holds now. Returns the record, its nonce and its token, or nothing.
local function bound_owner(value)
  -- pcall: what is of a foreign type is no record.
  local record = redis.pcall('GET', KEYS[2])
  if type(record) ~= 'string' then return end
  local nonce, token = string.match(record, '^(%S+) (%d+) ')
  token = tonumber(token)
  if token and value and value >= token then return record, nonce, token end
end
