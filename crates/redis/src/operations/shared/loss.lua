-- Those who have the lock and are to lose it: pairs of nonce and client in ARGV, from `first` on. Their clients, by nonces; ''
-- where it is not known which it is.
local function seen(first)
  local clients = {}
  for index = first, #ARGV, 2 do clients[ARGV[index]] = ARGV[index + 1] end
  return clients
end

-- A holder loses the lock. Without permission to publish its client learns of it at its next renewal or unlock. `client`: where
-- the record does not tell. `reason`: may follow.
local function take_from(nonce, client, channels, ...)
  local record, granted = record_of(nonce)
  client = record and string.match(record, '^%S+ %S+ (%S+)') or client or ''
  disown(nonce)
  if client == '' then return end
  -- It is not to blame that it gives no sign of life about this lock.
  heard_from(client)
  local news = { 'lost', nonce, digits(granted or 0), KEYS[1], ... }
  redis.pcall('PUBLISH', channels .. client, table.concat(news, ' '))
end
