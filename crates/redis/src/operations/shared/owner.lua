-- Reads the owner record KEYS[2]. The owner is bound only while the value of the lock, KEYS[1], has not fallen
-- below its token: a lock-inc 1.2.0 client that deletes the key and takes it again starts to count at 1.
-- `value`: what KEYS[1] holds now. `record`: what KEYS[2] does, if that has been read. Returns the record, its nonce, its
-- token, and how many times its lease was set, or nothing.
local function bound_owner(value, record)
  -- pcall: what is of a foreign type is no record.
  record = record or redis.pcall('GET', KEYS[2])
  if type(record) ~= 'string' then return end
  local nonce, token, set = string.match(record, '^(%S+) (%d+)/?(%d*) ')
  token = tonumber(token)
  if token and value and value >= token then return record, nonce, token, tonumber(set) or 0 end
end
