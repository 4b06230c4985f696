-- weigh: what binds tenants under one policy, and what would under another. Writes nothing.
--
-- @keys usage overrides backpressure
-- @argv now_ms:int present_json:str wanted_json:str period_parts:int rest:rest
--       rest: (name, start_ms, end_ms)* of the periods of both policies, `period_parts` arguments in all; then scopes:
--       tenant:tier, *:tier for the limits of the tier, * for those of the domain, @name for a named limit
-- @include stream
-- @include running
-- @include limits
-- @include zones
-- REPLY: (binds, would_bind)*: the binding limit of each scope, '' for none

local periods = {}
for i = rest_at, rest_at + period_parts - 1, 3 do
  periods[ARGV[i]] = {tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])}
end

local function by_name(policy_json)
  local policy, tiers, shared = cjson.decode(policy_json), {}, {}
  shared['*'] = policy.limits
  for _, tier in ipairs(policy.tiers) do
    tiers[tier.name] = tier
    shared['*:' .. tier.name] = tier.tier_limits
  end
  for _, named in ipairs(policy.named or {}) do shared['@' .. named.name] = named.limits end
  return {tiers = tiers, shared = shared, in_order = policy.tiers}
end

local overridden = redis.call('EXISTS', overrides_key) == 1

-- What operators and handlers said for a tenant outranks both policies.
local function said_for(scope)
  local tenant = split_stream(scope)
  local text = overridden and tenant and redis.call('HGET', overrides_key, tenant)
  local said = text and cjson.decode(text) or {}
  local pressed_until = tonumber(redis.call('ZSCORE', backpressure_key, scope) or 0)
  return said, said.paused or pressed_until > now_ms
end

-- In the tenant's own zone where its periods are known: else it has used nothing of them.
local function limits_of(tier, said)
  local own = said.time_zone and in_zone(tier.limits, said.time_zone) or tier.limits
  for _, limit in ipairs(own) do
    if limit[5] ~= '' and not know_period(limit[5], now_ms, periods) then return tier.limits end
  end
  return own
end

local function binding_of(policy, scope, states, said)
  local first = string.sub(scope, 1, 1)
  if first == '*' or first == '@' then
    local _, _, why = allowance(policy.shared[scope] or {}, states, now_ms, periods, 1)
    return why or ''
  end
  local tenant, name = split_stream(scope)
  local tier = policy.tiers[name]
  if not tier then return '' end
  if not said.limits then
    local _, _, why = allowance(limits_of(tier, said), states, now_ms, periods, 1)
    if why then return why end
  end
  local most = said.max_concurrency or tier.concurrency
  if most > 0 and running_of_tenant(tenant, policy.in_order) >= most then return 'concurrency ' .. most end
  return ''
end

local present, wanted, reply = by_name(present_json), by_name(wanted_json), {}
for i = rest_at + period_parts, #ARGV do
  local packed = redis.call('HGET', usage_key, ARGV[i])
  local states = packed and cmsgpack.unpack(packed) or {}
  local said, stopped = said_for(ARGV[i])
  for _, policy in ipairs({present, wanted}) do
    reply[#reply + 1] = stopped and '' or binding_of(policy, ARGV[i], states, said)
  end
end
return reply
