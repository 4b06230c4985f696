-- @keys ready tags fairness

-- `enter_ready` of one tenant, which makes no tables; what is text stays text.
local function enter_alone(tier, tenant)
  local tags_key = tags_prefix .. tier
  local tag = redis.call('ZSCORE', tags_key, tenant)
  local at = redis.call('HGET', fairness_key, 'vt:' .. tier) or '0'
  if tag then
    redis.call('ZREM', tags_key, tenant)
    if tag + 0 > at + 0 then at = tag end
  end
  redis.call('ZADD', ready_prefix .. tier, at, tenant)
end
