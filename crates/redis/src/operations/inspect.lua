-- KEYS: of each lock, see several.lua, but for the fence register.
-- Returns for each {attempts since the grant or 0 if nobody holds the lock; of each holder, one behind the other, the owner record or
-- the nonce or '', and what is left of its lease in ms; ticket and queue member of each waiter that is alive, in order}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function inspect()
  local value = redis.call('GET', KEYS[1])
  if value and not tonumber(value) then return {0, {}, {}} end
  local having, waiting, fields = {}, {}, {}
  local clients = redis.call('HGETALL', KEYS[2])
  for index = 1, #clients, 2 do fields[clients[index]] = clients[index + 1] end
  if is_group(value) then
    local found = redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')
    for index = 1, #found, 2 do
      local left = found[index + 1] - now
      if left > 0 then
        having[#having + 1] = fields[holder(found[index])] or found[index]
        having[#having + 1] = left
      end
    end
  elseif value then
    local nonce = nonce_of(value)
    having = { nonce and fields[holder(nonce)] or nonce or '', redis.call('PTTL', KEYS[1]) }
  end

  local queue = redis.call('ZRANGE', KEYS[4], 0, -1, 'WITHSCORES')
  for index = 1, #queue, 2 do
    local client = string.match(queue[index], '^%S+ %S+ (%S+)')
    if math.abs(tonumber(fields[client]) or 0) > now then
      waiting[#waiting + 1] = tonumber(queue[index + 1])
      waiting[#waiting + 1] = queue[index]
    end
  end
  return {#having > 0 and attempts(value) or 0, having, waiting}
end

local count, replies = #ALL / 4, {}
if count == 1 then
  look_at(1)
  return { inspect() }
end
for index = 1, count do
  look_at(index)
  local done, reply = pcall(inspect)
  -- Among others, a key of a foreign type is no lock.
  replies[index] = done and reply or {0, {}, {}}
end
return replies
