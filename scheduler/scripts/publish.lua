-- publish: put a compiled policy to work in one domain, unless a newer version is at work there.
--
-- @keys policy registry unsettled ready tags fairness moving
-- @argv policy_json:str settings_json:str tenants_known:int
--       settings: what enqueue needs of the policy; tenants_known: 1 once the tenants registered for all domains
--       were copied into this one
-- @include wake
-- REPLY: {the version at work now, the policy it replaced}, or {-1}: this domain is new, copy its tenants and call
--        again (nothing written)
--        The second until `settle`: holds that it caused may have to end. Empty when there were several, nil when
--        nothing is to be done.

-- What is remembered of a tier that is gone and empty.
local function forget_tiers(before, after)
  local stays = {}
  for _, tier in ipairs(after.tiers) do stays[tier.name] = true end
  for _, tier in ipairs(before.tiers) do
    if not stays[tier.name] and redis.call('EXISTS', ready_prefix .. tier.name) == 0 then
      redis.call('UNLINK', tags_prefix .. tier.name)
      redis.call('HDEL', fairness_key, 'vt:' .. tier.name, 'credit:' .. tier.name)
    end
  end
end

-- Tiers that are gone and whose tenants go to another one: maintenance looks after them until they are empty.
local function empty_tiers(before, after, moved)
  for _, tier in ipairs(before.tiers) do
    if moved[tier.name] then redis.call('HSET', moving_key, 'tier ' .. tier.name, moved[tier.name]) end
  end
  for _, tier in ipairs(after.tiers) do redis.call('HDEL', moving_key, 'tier ' .. tier.name) end
  for tier, into in pairs(moved) do
    if redis.call('HEXISTS', moving_key, 'tier ' .. tier) == 1 then redis.call('HSET', moving_key, 'tier ' .. tier, into) end
  end
end

local wanted = cjson.decode(policy_json)
local present_json = redis.call('GET', policy_key)
local present = present_json and cjson.decode(present_json)
local version = present and present.version or 0
local settings = redis.call('HGET', registry_key, '*')
if not settings and tenants_known == 0 then return {-1, false} end
if version > wanted.version then
  if not settings then redis.call('HSET', registry_key, '*', settings_json) end
  return {version, false}
end
if settings ~= settings_json then redis.call('HSET', registry_key, '*', settings_json) end
if present_json ~= policy_json then
  redis.call('SET', policy_key, policy_json)
  if present then
    forget_tiers(present, wanted)
    empty_tiers(present, wanted, cjson.decode(settings_json).moved or {})
    redis.call('SET', unsettled_key, redis.call('EXISTS', unsettled_key) == 1 and '' or present_json)
    wake_one() -- a limit may have gone that it waits for
  end
end
return {wanted.version, redis.call('GET', unsettled_key)}
