-- The first part of release, see there: a lock that nobody waits for. In few steps, and before anything is defined that
-- only the other cases need.
local call = redis.call
local held = call('MGET', KEYS[1], KEYS[2])
if held[1] and held[2] and call('EXISTS', KEYS[4]) == 0 then
  local nonce, token = string.match(held[2], '^(%S+) (%d+) ')
  if nonce == ARGV[1] and (tonumber(held[1]) or 0) >= tonumber(token) then
    call('DEL', KEYS[1], KEYS[2], KEYS[5])
    return 1
  end
end
