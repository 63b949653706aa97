-- The first part of acquire, see there: a resource that is free and that nobody waits for. In few steps, and before
-- anything is defined that only the other cases need.
local call = redis.call
if call('EXISTS', KEYS[1], KEYS[4]) == 0 then
  -- pcall: what is no number stays what it is, and is told below.
  local token = redis.pcall('INCR', KEYS[3])
  if type(token) == 'number' then
    if token >= tonumber(ARGV[3]) and token <= 9007199254740980 then
      call('SET', KEYS[1], ARGV[1] .. '000001', 'PX', ARGV[2])
      return token
    end
    if token > 9007199254740980 then call('DECR', KEYS[3]) end
  end
end
