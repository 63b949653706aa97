-- The server's time in microseconds, and the next fencing token: both below 2^53, which a Lua number holds exactly.
-- No token where the register KEYS[3] holds something else than one.
local function next_token()
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local last = tonumber(redis.call('GET', KEYS[3]) or 0)
  if last and last <= 9007199254740980 then return now, math.max(now, last + 1) end
  return now
end

local function digits(number) return string.format('%.0f', number) end

local function no_token()
  return redis.error_reply('WRONGTYPE the fence register ' .. KEYS[3] .. ' does not hold a token')
end

-- Makes a nonce the owner. `part`: what its client says of itself.
local function own(nonce, token, part, ms)
  redis.call('SET', KEYS[2], nonce .. ' ' .. digits(token) .. ' ' .. part, 'PX', ms)
end
