-- The first part of acquire, see there: a resource that is free and that nobody waits for. In few steps, and before
-- anything is defined that only the other cases need.
if redis.call('EXISTS', KEYS[1], KEYS[4]) == 0 then
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local last = redis.pcall('SET', KEYS[5], string.format('%.0f', now), 'GET')
  -- Refused without memory, or as it is of a foreign type: that is told below.
  if type(last) ~= 'table' then
    local number = tonumber(last or 0)
    local token = number and number <= 9007199254740980 and math.max(now, number + 1)
    if token ~= now then redis.call('SET', KEYS[5], token and string.format('%.0f', token) or last) end
    if token then
      redis.call('SET', KEYS[1], ARGV[1] .. '000001', 'PX', ARGV[2])
      return token
    end
  end
end
