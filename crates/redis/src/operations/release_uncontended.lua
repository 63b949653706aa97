-- The first part of release, see there: a lock that nobody waits for. In few steps, and before anything is defined that
-- only the other cases need.
local call = redis.call
local held = call('MGET', KEYS[1], KEYS[2])
local waiting = redis.pcall('ZCARD', KEYS[4])
if held[1] and held[2] and waiting == 0 then
  -- Without patterns: tokens have 16 digits, from the year 2001 to 2286.
  local from = #ARGV[1] + 2
  local token = string.sub(held[2], from, from + 15)
  if string.sub(held[2], 1, from - 1) == ARGV[1] .. ' ' and #held[1] == 16 and held[1] >= token then
    call('DEL', KEYS[1], KEYS[2], KEYS[5])
    return 1
  end
end
