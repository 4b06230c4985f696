-- @keys delayed_count

-- `by` more actions of a stream are in `delayed`.
local function count_delayed(stream, by)
  if redis.call('HINCRBY', delayed_count_key, stream, by) <= 0 then redis.call('HDEL', delayed_count_key, stream) end
end
