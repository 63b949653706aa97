-- KEYS[4]: the queue, a sorted set of waiters, '<nonce> <lease in ms> <client> <pid> <host> <name>', by their tickets. For a
-- shared lock that a limited number may have, a slash and that number follow the lease.

-- A waiter's first lease: a process that hangs keeps the others for no longer. It asks for the rest in time.
local GRACE = 5000

-- Forgets the clients that have left, and holders whose leases have ended, unless there are few of them. Where there are many it is done now and then only: most may have been served just now, and count
-- as alive for a while.
local function forget_dead(now)
  local count = redis.call('HLEN', KEYS[2])
  local known = redis.call('ZCARD', KEYS[4]) + redis.call('ZCARD', KEYS[3])
  if count <= 2 * known + 16 or now % count >= 64 then return end
  local clients, value = redis.call('HGETALL', KEYS[2]), redis.call('GET', KEYS[1])
  for index = 1, #clients, 2 do
    local ends = tonumber(clients[index + 1])
    local client = clients[index]
    local nonce = string.match(client, '^' .. holder('(%d+)$'))
    if nonce and not holds(nonce, value, now) then disown(nonce) end
    -- What has another name is a later version's.
    if ends and math.abs(ends) < ms(now) and #client == 16 and string.find(client, '^%x+$') then
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

-- Takes a waiter out of the queue. Whether it was in it.
local function leave(waiter)
  local left = redis.call('ZREM', KEYS[4], waiter) == 1
  if left and redis.call('EXISTS', KEYS[1], KEYS[4]) == 0 then redis.call('DEL', KEYS[2]) end
  return left
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

-- What a member of the queue says: nonce, lease in ms, limit, what the client says of itself, and the client.
local function parse(waiter)
  local nonce, lease, limit, part, client = string.match(waiter, '^(%S+) (%d+)/?(%d*) ((%S+).*)$')
  return nonce, tonumber(lease), tonumber(limit) or 0, part, client
end

-- Whether the first waiter fits beside those who have the lock.
local function next_fits(value, count)
  local nonce, _, limit = parse(redis.call('ZRANGE', KEYS[4], 0, 0)[1] or '')
  return nonce and fits(value, count, nonce, limit)
end

-- How many connections to this server listen to a channel, by its name. Nothing where it is not allowed to ask.
local function listeners(channel) return redis.pcall('PUBSUB', 'NUMSUB', channel)[2] end

-- Whether somebody listens to it. Where it is not allowed to ask, the signs of life have to do.
local function is_heard(channel) return listeners(channel) ~= 0 end

-- The same for a sharded channel, which there may not be.
local function close_listeners(channel) return redis.pcall('PUBSUB', 'SHARDNUMSUB', channel)[2] end

-- Publishes in a channel that so many listen to; nothing: it may not be asked. Whether anybody has heard it; nothing where that
-- may not be done, or cannot be known.
local function publish(command, channel, count, news)
  local told = redis.pcall(command, channel, news)
  if type(told) == 'number' and (count or told > 0) then return true end
end

-- Tells a client that it has the lock. Whether it listens; nothing where that may not be done, or cannot be known. It is asked
-- before: what is said reaches other servers as well, and with them clients that no answer to PUBLISH has counted.
local function tell(client, channels, nonce, token, now, lease)
  local news =
    table.concat({ 'grant', nonce, digits(token), digits(now), digits(lease), KEYS[1] }, ' ')
  -- In a cluster, where each lock is in a slot of its own, the client may listen so that no other node need hear it.
  if string.sub(channels, -9) == '{client}:' then
    local channel = KEYS[1] .. ':' .. client
    local count = close_listeners(channel) or 0
    if count > 0 and publish('SPUBLISH', channel, count, news) then return true end
  end
  local channel = channels .. client
  local count = listeners(channel)
  if count == 0 then return false end
  return publish('PUBLISH', channel, count, news)
end

-- Adds a grant to those that a reply tells.
local function add_grant(grants, nonce, token, lease)
  for _, field in ipairs({ nonce, token, lease }) do grants[#grants + 1] = field end
end

-- Gives the lock, with a token that is in the register already, to the first waiter whose client is alive and listens, if it
-- fits beside those who have the lock; and if that one shares it, to those behind it that fit, each with a token of its own.
-- `value`, `count`: what KEYS[1] holds and how many have the lock, false and 0 where it is over. `caller`: the client whose
-- call this is, which learns of its grants by the reply: they are added to the list `mine`. Returns the last token, or nothing if
-- nobody got the lock.
local function hand_over(now, token, channels, caller, value, count, mine)
  local deaf, signs, last = {}, {}, nil
  while true do
    local head = redis.pcall('ZPOPMIN', KEYS[4])
    if head.err or #head == 0 then
      if count == 0 then redis.call('DEL', KEYS[2]) end
      break
    end
    local nonce, lease, limit, part, client = parse(head[1])
    local alive = 0
    if client and not deaf[client] then
      signs[client] = signs[client] or alive_until(client, now)
      alive = signs[client]
    end
    local does_fit = alive ~= 0 and fits(value, count, nonce, limit)
    -- A process that has died keeps nobody out until it is taken for dead.
    if alive > 0 and not does_fit and client ~= caller and not is_heard(channels .. client) then alive = 0 end
    if alive ~= 0 then
      if last then token = last + 1 end
      lease = math.min(lease, GRACE)
      -- Whom no message reaches asks often.
      local told = client == caller or alive < 0
      local is_next = does_fit and (not last or keep_token(token))
      if is_next and not told then told = tell(client, channels, nonce, token, now, lease) end
      if not is_next or told == nil then
        -- Its turn has not come; or it may not be told, and finds out by polling.
        redis.call('ZADD', KEYS[4], head[2], head[1])
        redis.call('PEXPIRE', KEYS[4], ALIVE)
        break
      end
      if told then
        value, count = let_in(value, nonce, lease, now, true), count + 1
        record(nonce, digits(token), part, grant_of(client), digits(ms(now) + lease))
        last = token
        if client == caller then add_grant(mine, nonce, token, lease) end
        if not is_shared(nonce) then break end
      end
      alive = told and 1 or 0
    end
    if client and alive == 0 then deaf[client] = true end
  end
  if last then keep_records() end
  return last
end

-- A lock is over, or one of those who share it has gone: it goes to whoever is next, if anybody is. `gone`: a nonce of the
-- caller's. See hand_over for the other arguments and the result.
local function give_on(value, count, channels, caller, mine, gone)
  if count > 0 and not next_fits(value, count) then return end
  -- The first write: where memory is short nobody gets the lock.
  local now, token = take_token()
  if gone then
    heard_from(caller)
    disown(gone)
  end
  if token then return hand_over(now, token, channels, caller, value, count, mine) end
end

-- Waiters have left: what kept those behind them from sharing the lock may have been their turn.
local function pass_on(now, channels)
  local value, count = current(now)
  local owner = nonce_of(value)
  if is_group(value) or owner and is_shared(owner) then give_on(value, count, channels) end
end
