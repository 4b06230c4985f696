-- @keys ready

-- Virtual time never stands still, else new tenants, who enter at it, could pass an old one for ever: where
-- nobody who started was ahead of it, it moves on by what all who wait were charged on average.
local function move_on(tier, left)
  if tier.virtual_time > tier.stood_at then return end
  local charged = 0
  for _, candidate in ipairs(tier.touched) do charged = charged + (candidate.charged or 0) end
  if charged == 0 then return end
  local ready_key = ready_prefix .. tier.name
  local waited = redis.call('ZCARD', ready_key) + left
  local last = tonumber(redis.call('ZREVRANGE', ready_key, '0', '0', 'WITHSCORES')[2])
  local further = math.min(tier.virtual_time + math.floor(charged / (waited + 1)), last + 1)
  tier.virtual_time = math.max(tier.virtual_time, further)
end
