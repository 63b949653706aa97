-- A lock of ours, KEYS[1], holds a word of 19 digits: the nonce of its holder, 13 digits, and in the other six how many
-- attempts there were since the grant, the holder's included, plus COMPANY where a release has to look who else is there:
-- from a hand-over on, or when a waiter has come back. A lock of lock-inc 1.2.0 holds the number of attempts.
local COMPANY = 500000

-- The nonce of the holder, by what KEYS[1] holds. None where nobody holds it, or lock-inc 1.2.0 does, or a later version in
-- a way that this one does not know: from 92 on.
local function nonce_of(value)
  if value and #value == 19 and value < '92' then return string.sub(value, 1, 13) end
end

local function word(nonce, count) return nonce .. string.format('%06d', count) end

local function attempts(value)
  if not nonce_of(value) then return tonumber(value) or 0 end
  return (tonumber(string.sub(value, 14)) or 0) % COMPANY
end

-- What KEYS[2] (see clients.lua) says of the holder with this nonce, if it does: the record, the token, and how many times
-- the lease was set.
local function record_of(nonce)
  local record = nonce and redis.pcall('HMGET', KEYS[2], 'holder')[1]
  if not record then return end
  local owner, token, set = string.match(record, '^(%S+) (%d+)/?(%d*) ')
  if owner == nonce then return record, tonumber(token), tonumber(set) or 0 end
end
