-- @keys backpressure

-- Handlers said not now, each until a time; what has passed is forgotten, a bounded number per call.
local function forget_backpressure(now)
  local over = redis.call('ZRANGEBYSCORE', backpressure_key, '-inf', now, 'LIMIT', 0, 100)
  if #over > 0 then redis.call('ZREM', backpressure_key, unpack(over)) end
end

-- {scope = until_ms}; a longer one that was said before stays.
local function press(holds, now)
  for scope, until_ms in pairs(holds) do
    if until_ms > now then redis.call('ZADD', backpressure_key, 'GT', until_ms, scope) end
  end
end
