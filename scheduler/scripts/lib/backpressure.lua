-- @keys backpressure

-- Handlers said not now, each until a time; what has passed is forgotten, a bounded number per call.
local function forget_backpressure(now)
  local over = redis.call('ZRANGEBYSCORE', backpressure_key, '-inf', now, 'LIMIT', 0, 100)
  if #over > 0 then redis.call('ZREM', backpressure_key, unpack(over)) end
end

-- {scope = until_ms}; a longer one that was said before stays. What stops more than one tenant, and for longer than
-- was said before, is told; a tenant alone is held by the next claim, which tells it.
local function press(holds, now, event_lines)
  for scope, until_ms in pairs(holds) do
    local longer = until_ms > now and redis.call('ZADD', backpressure_key, 'GT', 'CH', until_ms, scope)
    if longer == 1 and string.find(scope, '^[*@]') then
      event_lines[#event_lines + 1] = 'backpressure ' .. now .. ' ' .. scope .. ' ' .. until_ms
    end
  end
end
