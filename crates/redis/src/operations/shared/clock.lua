-- Times are in microseconds. They and tokens are below 2^53: a Lua number holds them exactly.
local function time()
  local now = redis.call('TIME')
  return now[1] * 1000000 + now[2]
end

local function digits(number) return string.format('%.0f', number) end

-- The token after `last`, what the register KEYS[5] holds or false. None if that is something else than a token.
local function token_after(last, now)
  last = tonumber(last or 0)
  if last and last <= 9007199254740980 then return math.max(now, last + 1) end
end

-- The server's time, and the next fencing token, if there can be one. pcall: what is of a foreign type is no token.
local function next_token()
  local now = time()
  return now, token_after(redis.pcall('GET', KEYS[5]), now)
end

-- Writes a token to the register. False where the server refuses it (maxmemory).
local function keep_token(token)
  return not redis.pcall('SET', KEYS[5], digits(token)).err
end

-- The same as next_token, and the token is in the register: nearly always with one command.
local function take_token()
  local now = time()
  local last = redis.pcall('SET', KEYS[5], digits(now), 'GET')
  -- Refused, or a register of a foreign type. Nothing has changed.
  if type(last) == 'table' then return now end
  local token = token_after(last, now)
  if token ~= now then redis.call('SET', KEYS[5], token and digits(token) or last) end
  return now, token
end

local function no_token()
  return redis.error_reply('WRONGTYPE the fence register ' .. KEYS[5] .. ' does not hold a token')
end
