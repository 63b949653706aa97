-- Gives up locks that nobody has come for since they were taken. KEYS: the locks. ARGV: for each the word that it has then.
-- Returns for each 1, or 0 where there is another word: release finds out why. A number by itself where there is one.
local call = redis.call
if #KEYS == 1 then return redis.pcall('GET', KEYS[1]) == ARGV[1] and call('DEL', KEYS[1]) or 0 end
local given, replies = {}, {}
for index = 1, #KEYS do
  local is_same = redis.pcall('GET', KEYS[index]) == ARGV[index]
  if is_same then given[#given + 1] = KEYS[index] end
  replies[index] = is_same and 1 or 0
end
if #given > 0 then call('DEL', unpack(given)) end
return replies
