-- Tries all commands that scripts call, as one that is refused in the middle of a script leaves things half done. Not
-- PUBLISH and PUBSUB, without which all goes on, only later.
-- KEYS: a key that is used for nothing else; in a cluster it is in ARGV. Returns the commands that the user may not run.
local key, forbidden = KEYS[1] or ARGV[1], {}

local function allows(command, ...)
  local reply = redis.pcall(command, ...)
  -- "has no permissions to run the 'set' command", in 6.2 "can't run this command". A refusal of the key says nothing.
  local refused = type(reply) == 'table' and reply.err and string.find(reply.err, ' run th', 1, true)
  if refused then forbidden[#forbidden + 1] = command end
  return not refused
end

for _, command in ipairs({ 'EXISTS', 'GET' }) do allows(command, key) end
-- What is there is somebody else's, but for what another trial has left that might not delete it.
if redis.pcall('EXISTS', key) == 1 and redis.pcall('GET', key) ~= 'x' then return forbidden end
-- These change nothing of a key that is not there.
for _, command in ipairs({ 'MGET', 'PTTL', 'ZCARD', 'HGETALL', 'HLEN', 'ZPOPMIN', 'DEL' }) do allows(command, key) end
for _, command in ipairs({ 'ZREM', 'ZRANK', 'ZSCORE', 'HDEL', 'HMGET' }) do allows(command, key, 'x') end
allows('ZRANGE', key, 0, 0)
allows('PEXPIRE', key, 1)
allows('TIME')
-- And of a string that is no number, these. Who may not write it takes no lock in any case.
if allows('SET', key, 'x', 'PX', 1) then
  allows('INCR', key)
  allows('ZADD', key, 1, 'x')
  allows('HSET', key, 'x', 1)
  redis.pcall('DEL', key)
end
return forbidden
