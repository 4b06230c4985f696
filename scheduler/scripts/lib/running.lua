-- @include stream

-- How many of a stream's entries are owned by workers.
local function running_of(key)
  local pending = redis.pcall('XPENDING', key, 'workers')
  for _, consumer in ipairs(pending[4] or {}) do
    if consumer[1] == 'running' then return tonumber(consumer[2]) end
  end
  return 0
end

-- The same of a tenant in all of these tiers: what its concurrency limit counts, whichever tier they started from.
local function running_of_tenant(tenant, tiers)
  local keys, count = {}, 0
  for i, tier in ipairs(tiers) do keys[i] = domain_tag .. tenant .. ':' .. tier.name end
  local there = redis.call('EXISTS', unpack(keys))
  for _, key in ipairs(keys) do
    if there == 0 then break end
    local running = running_of(key)
    if running > 0 then count, there = count + running, there - 1 end
  end
  return count
end
