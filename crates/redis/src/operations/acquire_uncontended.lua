-- The first part of acquire, see there: a resource that is free and that nobody waits for. In few steps, and before
-- anything is defined that only the other cases need.
local there, wanted = redis.call('EXISTS', KEYS[1], KEYS[4]), math.max(#ARGV - 5, 1)

local function time_now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- The first of as many tokens as are wanted; the register has the last one then. None where the server refuses it without
-- memory, or what is there is of a foreign type or no token: that is told below.
local function take_tokens(now)
  local more = wanted - 1
  local last = redis.pcall('SET', KEYS[5], string.format('%.0f', now + more), 'GET')
  if type(last) == 'table' then return end
  local number = tonumber(last or 0)
  local token = number and number + more <= 9007199254740980 and math.max(now, number + 1)
  if token ~= now then redis.call('SET', KEYS[5], token and string.format('%.0f', token + more) or last) end
  return token
end

if there == 0 and wanted == 1 then
  local token = take_tokens(time_now())
  if token then
    redis.call('SET', KEYS[1], ARGV[1] .. '000001', 'PX', ARGV[2])
    return token
  end
end
