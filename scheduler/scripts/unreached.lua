-- unreached: actions that were cancelled a while ago, and had sent others. Whoever asks cancels these, once more where
-- somebody did, and then forgets them; should it die before, the next who asks is told.
--
-- @keys cancelled_parents
-- @argv now_ms:int again_ms:int most:int
-- REPLY: {id*}

local ids, later = redis.call('ZRANGEBYSCORE', cancelled_parents_key, '-inf', now_ms, 'LIMIT', 0, most), {}
for _, id in ipairs(ids) do
  later[#later + 1] = again_ms
  later[#later + 1] = id
end
if #later > 0 then redis.call('ZADD', cancelled_parents_key, unpack(later)) end
return ids
