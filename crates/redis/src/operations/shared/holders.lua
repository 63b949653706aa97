-- KEYS[3]: who shares the lock, a sorted set of nonces by the ends of their leases, in ms of the server's clock. It counts
-- only while KEYS[1] holds the word of a group: lock-inc 1.2.0 deletes that alone.

local function ms(now) return math.floor(now / 1000) end

-- What KEYS[1] holds, and how many have the lock. Those of a group whose leases are over have gone.
local function current(now)
  local value = redis.call('GET', KEYS[1])
  if not is_group(value) then return value, value and 1 or 0 end
  local ended
  repeat
    ended = redis.call('ZRANGE', KEYS[3], '-inf', ms(now), 'BYSCORE', 'LIMIT', 0, 1000)
    for _, nonce in ipairs(ended) do
      redis.call('ZREM', KEYS[3], nonce)
      disown(nonce)
    end
  until #ended < 1000
  local count = redis.call('ZCARD', KEYS[3])
  if count > 0 then return value, count end
  redis.call('DEL', KEYS[1])
  return false, 0
end

-- Whether this nonce has the lock.
local function holds(nonce, value, now)
  if not is_group(value) then return nonce_of(value) == nonce end
  local ends = redis.call('ZSCORE', KEYS[3], nonce)
  return ends and tonumber(ends) > ms(now)
end

-- Whether those who have the lock, of whom there are so many, let another one in: the attempt with this nonce. `limit`: how
-- many may share it, 0: any number.
local function fits(value, count, nonce, limit)
  if count == 0 then return true end
  if not is_shared(nonce) or limit > 0 and count >= limit then return false end
  local first = nonce_of(value)
  return is_group(value) or first and is_shared(first)
end

-- Lets a nonce in that fits. `value`: what KEYS[1] holds, or false where its lock is over or there is none. `company`: whether
-- a release has to look who else is there. Returns what KEYS[1] holds then, but for the count of attempts.
local function let_in(value, nonce, lease, now, company)
  if not value then
    value = word(nonce, company and COMPANY + 1 or 1)
    redis.call('SET', KEYS[1], value, 'PX', lease)
    return value
  end
  local left, first = redis.call('PTTL', KEYS[1]), nonce_of(value)
  if first then
    redis.call('DEL', KEYS[3])
    redis.call('ZADD', KEYS[3], digits(ms(now) + left), first)
    value = word(GROUP, attempts(value))
    redis.call('SET', KEYS[1], value, 'KEEPTTL')
  end
  redis.call('ZADD', KEYS[3], digits(ms(now) + lease), nonce)
  if left < tonumber(lease) then redis.call('PEXPIRE', KEYS[1], lease) end
  redis.call('PEXPIRE', KEYS[3], math.max(left, lease))
  return value
end

-- The lease of one of a group ends in so many ms. Further options of ZADD may follow.
local function set_end(nonce, lease, now, ...)
  -- First: where memory is short, a script may begin with this, and not with ZADD.
  redis.call('PEXPIRE', KEYS[3], math.max(lease, redis.call('PTTL', KEYS[3])))
  local arguments = { 'XX', ... }
  arguments[#arguments + 1] = digits(ms(now) + lease)
  arguments[#arguments + 1] = nonce
  redis.call('ZADD', KEYS[3], unpack(arguments))
end

-- One of a group has gone or has a shorter lease: the lock ends with the last of their leases.
local function shrink(now)
  local last = redis.call('ZRANGE', KEYS[3], 0, 0, 'REV', 'WITHSCORES')
  local left = math.max(last[2] - ms(now), 1)
  redis.call('PEXPIRE', KEYS[1], left)
  redis.call('PEXPIRE', KEYS[3], left)
  cut(KEYS[2], math.max(left, ALIVE))
end

-- Who has the lock: a list of nonces.
local function holders(value)
  if is_group(value) then return redis.call('ZRANGE', KEYS[3], 0, -1) end
  return { nonce_of(value) }
end
