-- Beyond so many attempts, whoever looks at a lock counts anew: lock-inc 1.2.0 counts without looking.
local MANY = 250000

-- From now on a release looks who else is there. `value`: what KEYS[1] holds, a word.
local function expect_company(value, count)
  redis.call('SET', KEYS[1], word(nonce_of(value), COMPANY + (count or attempts(value))), 'KEEPTTL')
end

-- Gives the lock a lease of `ms`, unless it has a longer one: a command that was held up on its way must not take away what
-- a later one has given. The same goes for the record of the holder, where there is one.
local function raise_lease(ms, record)
  keep(KEYS[1], ms)
  if record then keep(KEYS[2], ms) end
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
