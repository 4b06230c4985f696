-- @keys registry

-- The tier a tenant may have; the oracle is `Admission.tier_of` in scheduler/admission.py, which explains it.

local settings, rank, records = nil, {}, {}

-- Read what the registry says of these tenants; false while no policy was published.
local function read_registry(tenants)
  local found = redis.call('HMGET', registry_key, '*', unpack(tenants))
  if not found[1] then return false end
  settings = cjson.decode(found[1])
  for at, name in ipairs(settings.order) do rank[name] = at end
  for i, tenant in ipairs(tenants) do records[tenant] = found[i + 1] end
  return true
end

-- Who names a tier that is gone means the one that its tenants were moved to.
local function present(tier)
  return settings.moved and settings.moved[tier] or tier
end

-- Registered tier (nil for none that the policy has), and whether the tenant takes no new work.
local function registration(tenant)
  local record = records[tenant]
  if not record then return nil, false end
  local tier, drain = string.match(record, '^(%S+) ?(.*)$')
  tier = present(tier)
  return rank[tier] and tier, drain == 'drain'
end

-- Tier, or nil and why not. `claimed` '' is none, '~' before it: inherited.
local function tier_of(tenant, claimed)
  local inherited = string.sub(claimed, 1, 1) == '~'
  if inherited then claimed = string.sub(claimed, 2) end
  claimed = present(claimed)
  local own, draining = registration(tenant)
  local entitled = own or settings.default
  if claimed ~= '' and not rank[claimed] and not inherited then
    return nil, '!unknown ' .. table.concat(settings.order, ' ')
  end
  if draining then return nil, '!drain ' .. (claimed ~= '' and claimed or entitled) end
  if not rank[claimed] then return entitled end
  if rank[claimed] >= rank[entitled] or not (own or settings.strict) then return claimed end
  if inherited then return entitled end
  return nil, '!tier ' .. entitled .. (own and ' 1 ' or ' 0 ') .. table.concat(settings.order, ' ')
end
