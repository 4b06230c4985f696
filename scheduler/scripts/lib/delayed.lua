-- @keys delayed delayed_count

-- `by` more actions of a stream are in `delayed`.
local function count_delayed(stream, by)
  if redis.call('HINCRBY', delayed_count_key, stream, by) <= 0 then redis.call('HDEL', delayed_count_key, stream) end
end

-- Header and payload of what is not in its stream yet; nothing where somebody else deleted them.
local function read_delayed(id)
  local packed = redis.call('HGET', delayed_key, id)
  if packed then return unpack(cmsgpack.unpack(packed)) end
end
