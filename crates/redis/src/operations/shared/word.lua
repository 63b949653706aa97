-- A lock of ours, KEYS[1], holds a word of 19 digits: the nonce of its holder, 13 digits, and in the other six how many
-- attempts there were since the grant, the holder's included, plus COMPANY where a release has to look who else is there:
-- from a hand-over on, or when a waiter has come back. Where several share the lock, GROUP stands in the place of the nonce,
-- and KEYS[3] says who they are. A lock of lock-inc 1.2.0 holds the number of attempts.
local COMPANY = 500000
local GROUP = '9200000000000'

-- The nonce of the one holder, by what KEYS[1] holds. None where nobody holds it, or several do, or lock-inc 1.2.0, or a
-- later version in a way that this one does not know: from 9201 on.
local function nonce_of(value)
  if value and #value == 19 and value < '92' then return string.sub(value, 1, 13) end
end

local function is_group(value) return value and #value == 19 and string.sub(value, 1, 4) == '9200' end

-- Whether an attempt with this nonce is for a shared lock.
local function is_shared(nonce) return string.sub(nonce, 7, 7) >= '5' end

local function word(nonce, count) return nonce .. string.format('%06d', count) end

local function attempts(value)
  if not nonce_of(value) and not is_group(value) then return math.max(math.min(tonumber(value) or 0, 2 ^ 53), 0) end
  return (tonumber(string.sub(value, 14)) or 0) % COMPANY
end
