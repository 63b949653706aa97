-- The second part of acquire, see there: shared attempts for a resource that nobody waits for, be it that several find it free,
-- or that it is shared already. What there is to look at and to write is done once for all of them.
if there < 2 and there + wanted > 1 and string.sub(ARGV[1], 7, 7) >= '5' then
  local value, now = redis.pcall('GET', KEYS[1]), time_now()
  local lease, limit, at = tonumber(ARGV[2]), tonumber(ARGV[3]), math.floor(now / 1000)
  -- What KEYS[1] is to hold; who has the lock alone; how many have it, and for how long.
  local group, first, count, left
  if there == 0 then
    group, count, left = '9200000000000000001', 0, 0
  elseif type(value) == 'string' and #value == 19 then
    left = redis.call('PTTL', KEYS[1])
    if string.sub(value, 1, 4) == '9200' then
      -- Where a lease is over, its holder has to be taken out.
      local first_end = redis.pcall('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2]
      if first_end and tonumber(first_end) > at then
        group, count = value, limit > 0 and redis.call('ZCARD', KEYS[3]) or 0
      end
    elseif value < '92' and string.sub(value, 7, 7) >= '5' and string.sub(value, 1, 13) ~= ARGV[1] then
      first, count = string.sub(value, 1, 13), 1
      group = '9200000000000' .. string.format('%06d', string.sub(value, 14) % 500000)
    end
  end
  local fits = group and left >= 0 and (limit == 0 or count + wanted <= limit)
  local token = fits and take_tokens(now)
  if token then
    local lease_end = string.format('%.0f', at + lease)
    local holders = { KEYS[3], 'GT', lease_end, ARGV[1] }
    for index = 7, #ARGV do
      holders[#holders + 1] = lease_end
      holders[#holders + 1] = ARGV[index]
    end
    if first then
      holders[#holders + 1] = string.format('%.0f', at + left)
      holders[#holders + 1] = first
    end
    if group ~= value then redis.call('DEL', KEYS[3]) end
    local added = redis.call('ZADD', unpack(holders))
    if group ~= value then
      redis.call('SET', KEYS[1], group, 'PX', math.max(left, lease))
      redis.call('PEXPIRE', KEYS[3], math.max(left, lease))
    elseif left < lease then
      redis.call('PEXPIRE', KEYS[1], lease)
      redis.call('PEXPIRE', KEYS[3], lease)
    end
    -- Those that are sent again may have been let in before. Which token they have is found out below.
    if added == (first and 1 or 0) + wanted then
      if wanted == 1 then return token end
      local tokens = {}
      for index = 1, wanted do tokens[index] = token + index - 1 end
      return tokens
    end
  end
end
