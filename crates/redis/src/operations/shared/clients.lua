-- Beyond this, whoever looks at a lock counts anew: lock-inc 1.2.0 counts without looking.
local MANY = 250000

-- From now on a release looks who else is there. `value`: what KEYS[1] holds, a word.
local function expect_company(value, count)
  redis.call('SET', KEYS[1], word(nonce_of(value), COMPANY + (count or attempts(value))), 'KEEPTTL')
end

-- Says who the holder is. `part`: what its client says of itself. pcall: a server without memory need not know.
local function own(nonce, token, part, ms)
  redis.pcall('SET', KEYS[2], nonce .. ' ' .. token .. ' ' .. part, 'PX', ms)
end
