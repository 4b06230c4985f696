-- @keys ready tags fairness
-- @include stream
-- @include variadic

-- Put tenants of one tier into the ready index at max(virtual time, the tag they left with): being new
-- or idle earns nothing.
local function enter_ready(tier, tenants)
  local tags = redis.call('ZMSCORE', tags_prefix .. tier, unpack(tenants))
  local virtual_time = tonumber(redis.call('HGET', fairness_key, 'vt:' .. tier) or 0)
  local entering, tagged = {}, {}
  for i, tenant in ipairs(tenants) do
    local tag = tags[i]
    if tag then tagged[#tagged + 1] = tenant end
    entering[#entering + 1] = tag and math.max(virtual_time, tonumber(tag)) or virtual_time
    entering[#entering + 1] = tenant
  end
  write_all('ZADD', ready_prefix .. tier, entering)
  if #tagged > 0 then write_all('ZREM', tags_prefix .. tier, tagged) end
end

local function enter_streams(streams)
  local by_tier = {}
  for _, stream in ipairs(streams) do
    local tenant, tier = split_stream(stream)
    local tenants = by_tier[tier]
    if not tenants then
      tenants = {}
      by_tier[tier] = tenants
    end
    tenants[#tenants + 1] = tenant
  end
  for tier, tenants in pairs(by_tier) do enter_ready(tier, tenants) end
end
