-- Gives lock and record a lease of `ms`, unless they have a longer one: a command that was held up on its way must
-- not take away what a later one has given.
local function raise_lease(ms)
  if redis.call('PTTL', KEYS[1]) >= tonumber(ms) then return end
  redis.call('PEXPIRE', KEYS[1], ms)
  redis.call('PEXPIRE', KEYS[2], ms)
end

-- What 1.2.0 gives in ms, unless told otherwise.
local OLD_LEASE = 60000

-- What is left of the lease in ms. A 1.2.0 client leaves a lock without one between its INCR and its EXPIRE, and for good
-- if it dies there. As it may be alive, and set the lease yet, it gets no less time than it asks for.
local function lease_left()
  local left = redis.call('PTTL', KEYS[1])
  if left ~= -1 then return left end
  redis.call('PEXPIRE', KEYS[1], OLD_LEASE)
  return OLD_LEASE
end

-- Removes what is left of a lock of this nonce that an old client has deleted.
local function drop_leftover(nonce)
  local record = redis.pcall('GET', KEYS[2])
  if type(record) == 'string' and string.sub(record, 1, #nonce + 1) == nonce .. ' ' then
    redis.call('DEL', KEYS[2])
  end
end
