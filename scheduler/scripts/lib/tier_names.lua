-- @keys registry

-- The names of all tiers, without decoding what else is said of them.
local function tier_names()
  local settings, names = redis.call('HGET', registry_key, '*') or '', {}
  for name in string.gmatch(string.match(settings, '"order":%[(.-)%]') or '', '"([^"]+)"') do names[#names + 1] = name end
  return names
end
