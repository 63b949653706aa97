-- The first part of release, see there: a lock that nobody has come for since it was taken. In few steps, and before
-- anything is defined that only the other cases need.
local value = redis.pcall('GET', KEYS[1])
if #ARGV < 5 and value == ARGV[1] .. '000001' and redis.call('EXISTS', KEYS[4]) == 0 then
  redis.call('DEL', KEYS[1], KEYS[2])
  return 1
end
