-- The first part of acquire, see there: a resource that is free and that nobody waits for. In few steps, and before
-- anything is defined that only the other cases need.
local call = redis.call
if call('EXISTS', KEYS[1], KEYS[4]) == 0 then
  local time = call('TIME')
  local text = time[1] .. string.format('%06d', time[2])
  local last = call('SET', KEYS[3], text, 'GET')
  local token = tonumber(text)
  if (tonumber(last or 0) or token) < token then
    call('SET', KEYS[1], text, 'PX', ARGV[2])
    call('SET', KEYS[2], ARGV[1] .. ' ' .. text .. ' ' .. ARGV[3], 'PX', ARGV[2])
    return token
  end
  -- No token, or one that is ahead of the clock.
  call('SET', KEYS[3], last)
end
