-- The first part of acquire, see there: a resource that is free and that nobody waits for. In few steps, and before
-- anything is defined that only the other cases need.
local call = redis.call
if call('EXISTS', KEYS[1], KEYS[4]) == 0 then
  local time = call('TIME')
  local token = time[1] * 1000000 + time[2]
  local last = tonumber(call('GET', KEYS[3]) or 0)
  if last and last <= 9007199254740980 then
    if token <= last then token = last + 1 end
    local text = string.format('%.0f', token)
    call('SET', KEYS[1], text, 'PX', ARGV[2])
    call('SET', KEYS[3], text)
    call('SET', KEYS[2], ARGV[1] .. ' ' .. text .. ' ' .. string.sub(text, 1, -4) .. ' ' .. ARGV[3], 'PX', ARGV[2])
    return token
  end
end
