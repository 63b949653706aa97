-- The second part of release, see there: some of those who share a lock that nobody waits for. What there is to look at and to
-- write is done once for all of them.
if type(value) == 'string' and #value == 19 and string.sub(value, 1, 4) == '9200' then
  local others = redis.call('EXISTS', KEYS[2], KEYS[4])
  if others == 0 or redis.call('EXISTS', KEYS[4]) == 0 then
    -- Whose lease ends last. While that one stays, the lock ends with it.
    local last = redis.call('ZRANGE', KEYS[3], 0, 0, 'REV')[1]
    local stays, replies, records = last, {}, {}
    for index, nonce in ipairs({ ARGV[1], unpack(ARGV, 5) }) do
      replies[index], records[index] = redis.call('ZREM', KEYS[3], nonce), 'holder:' .. nonce
      if nonce == last then stays = false end
    end
    if others > 0 then redis.pcall('HDEL', KEYS[2], unpack(records)) end
    if not stays then
      local last_end = redis.call('ZRANGE', KEYS[3], 0, 0, 'REV', 'WITHSCORES')[2]
      local time = last_end and redis.call('TIME')
      local left = time and last_end - time[1] * 1000 - math.floor(time[2] / 1000) or 0
      if left <= 0 then
        redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
      else
        redis.call('PEXPIRE', KEYS[1], left)
        redis.call('PEXPIRE', KEYS[3], left)
        -- It is also kept for those who have waited: see clients.lua.
        local kept = math.max(left, 15000)
        if redis.call('PTTL', KEYS[2]) > kept then redis.call('PEXPIRE', KEYS[2], kept) end
      end
    end
    return #replies == 1 and replies[1] or replies
  end
end
