-- KEYS[4]: the queue, a sorted set of waiters, '<nonce> <lease in ms> <client> <pid> <host> <name>', by their tickets.

-- A waiter's first lease: a process that hangs keeps the others for no longer. It asks for the rest in time.
local GRACE = 5000

local function ms(now) return math.floor(now / 1000) end

-- Forgets the clients that have left, unless there are few of them. They are no more than the waiters, at the most. Where
-- there are many it is done now and then only: most may have been served just now, and count as alive for a while.
local function forget_dead(now)
  local count = redis.call('HLEN', KEYS[2])
  if count <= 2 * redis.call('ZCARD', KEYS[4]) + 16 or now % count >= 64 then return end
  local clients = redis.call('HGETALL', KEYS[2])
  for index = 1, #clients, 2 do
    local ends = tonumber(clients[index + 1])
    local client = clients[index]
    if ends and math.abs(ends) < ms(now) and string.sub(client, 1, 8) ~= grant_of('') then
      redis.call('HDEL', KEYS[2], client, grant_of(client))
    end
  end
end

-- What KEYS[2] has of a client. For whoever joins the queue: before anything is written, as it may be of a foreign type.
local function signs_of(client) return redis.call('HMGET', KEYS[2], client, grant_of(client)) end

-- `signs`: what there was of the client. `hears`: '1' if messages reach it. `anew`: the queue may have no TTL yet.
local function mark_alive(client, signs, now, hears, anew)
  local sign = hears == '1' and 1 or -1
  if signs[2] then heard_from(client) end
  local known = tonumber(signs[1] or 0) * sign
  if not anew and known > ms(now) + ALIVE * 0.9 then return end
  redis.call('HSET', KEYS[2], client, digits(sign * (ms(now) + ALIVE)))
  redis.call('PEXPIRE', KEYS[4], ALIVE)
  keep(KEYS[2], ALIVE)
  forget_dead(now)
end

-- How many wait. What is of a foreign type is no queue; any other error is one.
local function waiters()
  local count = redis.pcall('ZCARD', KEYS[4])
  if type(count) == 'number' then return count end
  return string.find(count.err, 'WRONGTYPE', 1, true) and 0 or redis.call('ZCARD', KEYS[4])
end

-- Takes a waiter out of the queue.
local function leave(waiter)
  if redis.call('ZREM', KEYS[4], waiter) == 1 and redis.call('EXISTS', KEYS[1], KEYS[4]) == 0 then
    redis.call('DEL', KEYS[2])
  end
end

-- Until when a client counts as alive; 0 if it does not. One that was handed the lock and has let its first lease end
-- without a sign of life hangs: its other waiters need not be tried, and come back with its next poll.
local function alive_until(client, now)
  -- pcall: what is of a foreign type says nothing.
  local found = redis.pcall('HMGET', KEYS[2], client, grant_of(client))
  local ends, grant_ends = tonumber(found[1] or 0), tonumber(found[2] or nil)
  if not ends or math.abs(ends) <= ms(now) or grant_ends and grant_ends <= ms(now) then return 0 end
  return ends
end

-- Makes a waiter the holder.
local function grant(nonce, token, now, part, client, lease)
  redis.call('SET', KEYS[1], word(nonce, COMPANY + 1), 'PX', digits(lease))
  own(nonce, digits(token), part, lease, grant_of(client), digits(ms(now) + lease))
end

-- Gives the lock, with a token that is in the register already, to the first waiter whose client is alive and listens.
-- `caller`: the client whose call this is, which learns of a grant by the reply. Returns nothing if nobody got it, else
-- true and, for the reply, {nonce, token, lease in ms}.
local function hand_over(now, token, channels, caller)
  local deaf = {}
  while true do
    local head = redis.pcall('ZPOPMIN', KEYS[4])
    if head.err or #head == 0 then
      redis.call('DEL', KEYS[2])
      return
    end
    local nonce, whole, part, client = string.match(head[1], '^(%S+) (%d+) ((%S+).*)$')
    local alive = client and not deaf[client] and alive_until(client, now) or 0
    if alive ~= 0 then
      local lease = math.min(tonumber(whole), GRACE)
      -- Whom no message reaches asks often.
      local told = 1
      if client ~= caller and alive > 0 then
        local news = { 'grant', nonce, digits(token), digits(now), digits(lease), KEYS[1] }
        local channel = channels .. client
        told = redis.pcall('PUBLISH', channel, table.concat(news, ' '))
        if type(told) ~= 'number' then
          -- Not allowed: whose turn it is finds out by polling.
          redis.call('ZADD', KEYS[4], head[2], head[1])
          redis.call('PEXPIRE', KEYS[4], ALIVE)
          return
        end
        -- Whoever listens to a pattern was counted, too. Where it is not allowed to ask, the signs of life have to do.
        if told > 0 and redis.pcall('PUBSUB', 'NUMPAT') ~= 0 then
          told = redis.pcall('PUBSUB', 'NUMSUB', channel)[2] or told
        end
      end
      if told > 0 then
        grant(nonce, token, now, part, client, lease)
        if client ~= caller then return true end
        return true, { nonce, token, lease }
      end
    end
    if client then deaf[client] = true end
  end
end
