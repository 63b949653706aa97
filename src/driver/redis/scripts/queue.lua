-- KEYS[4]: the queue, a sorted set of waiters, '<nonce> <lease in ms> <client> <pid> <host> <name>', by their tickets.
-- KEYS[5]: until when each client with waiters counts as alive, in ms of the server's clock; and in `granted` the
-- client of the last hand-over and the end of its first lease, until it has given a sign of life.

-- A waiter's first lease: a process that hangs keeps the others for no longer. It asks for the rest in time.
local GRACE = 5000
-- For so long after its last poll a client counts as alive: three times the longest time between two of them.
local ALIVE = 15000

local function mark_alive(client, now)
  local known = tonumber(redis.call('HGET', KEYS[5], client) or 0)
  if known > now / 1000 + ALIVE * 0.9 then return end
  redis.call('HSET', KEYS[5], client, digits(math.floor(now / 1000) + ALIVE))
  redis.call('PEXPIRE', KEYS[4], ALIVE)
  redis.call('PEXPIRE', KEYS[5], ALIVE)
end

-- The lock is gone without a release. If its first lease after a hand-over has ended and its holder gave no sign of
-- life, that client hangs, and its other waiters need not be tried: they come back with its next poll.
local function pass_over_lapsed(now)
  local client, ends = string.match(redis.call('HGET', KEYS[5], 'granted') or '', '^(%S+) (%d+)$')
  if client and tonumber(ends) * 1000 <= now then redis.call('HDEL', KEYS[5], client, 'granted') end
end

-- Gives the lock to the first waiter whose client is alive and listens. `client`: whose call this is, which learns of
-- a grant by the reply. Returns nothing if nobody got it, else true and, for the reply, {nonce, token, lease in ms}.
local function hand_over(now, token, channels, client)
  local text = digits(token)
  -- The first write. Where the server refuses it (maxmemory), nothing has changed.
  if redis.pcall('SET', KEYS[3], text).err then return end
  local deaf = {}
  while true do
    local head = redis.pcall('ZPOPMIN', KEYS[4])
    if head.err or #head == 0 then
      redis.call('DEL', KEYS[5])
      return
    end
    local nonce, lease, part, waiter = string.match(head[1], '^(%S+) (%d+) ((%S+).*)$')
    if not deaf[waiter] and tonumber(redis.call('HGET', KEYS[5], waiter) or 0) * 1000 > now then
      lease = math.min(tonumber(lease), GRACE)
      local told = 1
      if waiter ~= client then
        local news = { 'grant', nonce, text, digits(now), digits(lease), KEYS[1] }
        told = redis.pcall('PUBLISH', channels .. waiter, table.concat(news, ' '))
        if type(told) ~= 'number' then
          -- Not allowed: whose turn it is finds out by polling.
          redis.call('ZADD', KEYS[4], head[2], head[1])
          redis.call('PEXPIRE', KEYS[4], ALIVE)
          return
        end
      end
      if told > 0 then
        redis.call('SET', KEYS[1], text, 'PX', digits(lease))
        own(nonce, token, now, part, digits(lease))
        if redis.call('EXISTS', KEYS[4]) == 1 then
          redis.call('HSET', KEYS[5], 'granted', waiter .. ' ' .. digits(math.floor(now / 1000) + lease))
        else
          redis.call('DEL', KEYS[5])
        end
        if waiter ~= client then return true end
        return true, { nonce, token, lease }
      end
    end
    deaf[waiter] = true
  end
end
