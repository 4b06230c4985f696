-- override: what operators set for one tenant, its pause included. Its holds end: the next claims look at it again.
--
-- @keys overrides policy held backpressure moving operations
-- @argv now_ms:int tenant:str known:str override:str resumed:int by:str why:str did:str of_move:str
--       known: what stood there when the caller looked, override: what is to stand there, '' for nothing;
--       resumed: 1 ends what handlers said for this tenant, too; of_move: the id of the move without which nothing is
--       written, for it is over; '' for none
-- @include waiting
-- @include operations
-- @include wake
-- REPLY: 1 (done, or the move is over), 2 (the same, and what handlers said has ended), or 0 (somebody else was faster:
--        look again)

if of_move ~= '' then
  local on_its_way = of_move .. ' 0 '
  if string.sub(redis.call('HGET', moving_key, tenant) or '', 1, #on_its_way) ~= on_its_way then return 1 end
end

if (redis.call('HGET', overrides_key, tenant) or '') ~= known then return 0 end
redis.call('HDEL', overrides_key, tenant) -- allowed when the server is out of memory, then the rest is too
if override ~= '' then redis.call('HSET', overrides_key, tenant, override) end

local streams, ended = {}, 0
for _, tier in ipairs(cjson.decode(redis.call('GET', policy_key) or '{"tiers":[]}').tiers) do
  streams[#streams + 1] = tenant .. ':' .. tier.name
end
if #streams > 0 then
  if resumed == 1 then ended = redis.call('ZREM', backpressure_key, unpack(streams)) end
  local held = {}
  for i, score in ipairs(redis.call('ZMSCORE', held_key, unpack(streams))) do
    if score then held[#held + 1] = streams[i] end
  end
  end_holds(held)
end
if known ~= override or ended > 0 or resumed ~= 1 then note_operation(now_ms, by, why, did) end
wake_one()
return ended > 0 and 2 or 1
