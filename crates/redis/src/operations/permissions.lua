-- Tries all commands that scripts call, as one that is refused in the middle of a script leaves things half done. Not
-- PUBLISH and PUBSUB, without which all goes on, only later.
-- KEYS: a key that is used for nothing else. Returns the commands that the user may not run.
local key = KEYS[1]
-- On a string that is no number those in between change nothing.
local trials = {
  { 'SET', key, 'x', 'PX', 1 },
  { 'GET', key }, { 'MGET', key }, { 'EXISTS', key }, { 'PTTL', key }, { 'TIME' },
  { 'INCR', key }, { 'DECR', key }, { 'PEXPIRE', key, 1 },
  { 'ZADD', key, 1, 'x' }, { 'ZREM', key, 'x' }, { 'ZPOPMIN', key },
  { 'ZCARD', key }, { 'ZRANGE', key, 0, 0 }, { 'ZRANK', key, 'x' }, { 'ZSCORE', key, 'x' },
  { 'HSET', key, 'x', 1 }, { 'HDEL', key, 'x' },
  { 'HMGET', key, 'x' }, { 'HGETALL', key }, { 'HLEN', key },
  { 'DEL', key },
}
local forbidden = {}
for _, trial in ipairs(trials) do
  local reply = redis.pcall(unpack(trial))
  -- "has no permissions to run the 'set' command", in 6.2 "can't run this command". A refusal of the key says nothing.
  if type(reply) == 'table' and reply.err and string.find(reply.err, ' run th', 1, true) then
    forbidden[#forbidden + 1] = trial[1]
  end
end
return forbidden
