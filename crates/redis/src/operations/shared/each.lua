-- Carries out calls that have come together, in their order, each as if it had come by itself: the one of the nonce ARGV[1], and
-- those of the nonces from ARGV[from] on, if there are any. Returns their replies, or the one reply.
local function each(from, call)
  if #ARGV < from then return call(ARGV[1]) end
  local replies = {}
  for _, nonce in ipairs({ ARGV[1], unpack(ARGV, from) }) do
    local is_done, reply = pcall(call, nonce)
    -- In 6.2 what is wrong is a text.
    if not is_done then reply = redis.error_reply(type(reply) == 'table' and reply.err or 'ERR ' .. reply) end
    replies[#replies + 1] = reply
  end
  return replies
end
