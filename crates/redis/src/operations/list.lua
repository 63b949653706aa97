-- Writes what a locker holds and waits for.
-- KEYS: the entry of the locker, the index of the entries. ARGV: the client, for how long the entry is kept in ms, '1' if all goes
-- that is there, how many fields go, their names; and then names and values of those that come.
-- Of the index, those go that are over.
local time = redis.call('TIME')
local now, kept, gone = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[2]), tonumber(ARGV[4])
if ARGV[3] == '1' then redis.call('DEL', KEYS[1]) end
for index = 5, 4 + gone do redis.call('HDEL', KEYS[1], ARGV[index]) end
for index = 5 + gone, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[index], ARGV[index + 1]) end
if redis.call('PTTL', KEYS[1]) < kept then redis.call('PEXPIRE', KEYS[1], kept) end
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('ZADD', KEYS[2], 'GT', string.format('%.0f', now + kept), ARGV[1])
  if redis.call('PTTL', KEYS[2]) < kept then redis.call('PEXPIRE', KEYS[2], kept) end
else
  redis.call('ZREM', KEYS[2], ARGV[1])
end
local over = redis.call('ZRANGE', KEYS[2], '-inf', now, 'BYSCORE', 'LIMIT', 0, 100)
for _, client in ipairs(over) do redis.call('ZREM', KEYS[2], client) end
return redis.status_reply('OK')
