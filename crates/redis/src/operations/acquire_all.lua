-- Takes several locks, or none.
-- KEYS: see several.lua. ARGV: lease in ms, how many may share the locks (0: any number; for exclusive ones, too), what channels
-- begin with, and for each lock the nonce.
-- Returns {0, the token of the first}, of which each of the others has the next one, or {which lock could not be taken, attempts
-- since its grant, lease left in ms, the owner record or the nonce of its holder or ''}.
-- A key of a foreign type makes it fail before the first write, but for what would be due in any case.
look_at(1)
local now, token = next_token()
if not token then return no_token() end
local lease, limit, count = ARGV[1], tonumber(ARGV[2]), #ARGV - 3
local values = {}
for index = 1, count do
  look_at(index)
  local value, having = current(now)
  if waiters() > 0 and next_fits(value, having) and keep_token(token) then
    token = (hand_over(now, token, ARGV[3], nil, value, having, {}) or token) + 1
    value, having = current(now)
  end
  local mine = ARGV[index + 3]
  -- Sent again, it finds its own.
  local is_free = waiters() == 0 and fits(value, having, mine, limit)
  if not is_free and not holds(mine, value, now) then
    if value then redis.call('INCR', KEYS[1]) end
    local tried, left, who = in_the_way(value, now, limit > 0)
    if tried > MANY and (nonce_of(value) or is_group(value)) then expect_company(value, 2) end
    return {index, tried + 1, left, who}
  end
  values[index] = value
end
redis.call('SET', KEYS[5], digits(token + count - 1))
for index = 1, count do
  look_at(index)
  local value, mine = values[index], ARGV[index + 3]
  if holds(mine, value, now) then
    -- Nobody has heard of the token before.
    raise_lease(value, mine, lease, nil, now)
  else
    let_in(value, mine, lease, now, false)
  end
end
return {0, token}
