-- The first part of release, see there: a lock that nobody has come for since it was taken. In few steps, and before
-- anything is defined that only the other cases need.
local call = redis.call
if call('GET', KEYS[1]) == ARGV[1] .. '000001' then
  call('DEL', KEYS[1], KEYS[2])
  return 1
end
