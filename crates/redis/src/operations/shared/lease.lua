-- Beyond so many attempts, whoever looks at a lock counts anew: lock-inc 1.2.0 counts without looking.
local MANY = 250000

-- From now on a release looks who else is there. `value`: what KEYS[1] holds, a word.
local function expect_company(value, count)
  redis.call('SET', KEYS[1], word(string.sub(value, 1, 13), COMPANY + (count or attempts(value))), 'KEEPTTL')
end

-- Gives a holder a lease of `ms`, unless it has a longer one: a command that was held up on its way must not take away what
-- a later one has given. The same goes for its record, where there is one. `value`: what KEYS[1] holds.
local function raise_lease(value, nonce, lease, record, now)
  if is_group(value) then set_end(nonce, lease, now, 'GT') end
  keep(KEYS[1], lease)
  if record then keep(KEYS[2], lease) end
end

-- Gives a holder this lease, also if it is shorter. Others may share the lock for longer.
local function set_lease(value, nonce, lease, now)
  if not is_group(value) then return redis.call('PEXPIRE', KEYS[1], lease) end
  set_end(nonce, lease, now)
  shrink(now)
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

-- Of several holders, the one whose lease ends first, or last: its nonce, and what is left of the lease in ms.
local function outermost(now, ...)
  local found = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES', ...)
  if found[1] then return found[1], found[2] - ms(now) end
end

-- Who is in the way of an attempt: attempts since the grant or 0, ms of its lease that are left, and the owner record or
-- the nonce of the holder or ''. `first`: of several, the one whose lease ends first, and not the last.
local function in_the_way(value, now, first)
  local nonce, left = nonce_of(value), nil
  if is_group(value) then
    if first then nonce, left = outermost(now) else nonce, left = outermost(now, 'REV') end
  end
  return value and attempts(value) or 0, left or lease_left(), record_of(nonce) or nonce or ''
end
