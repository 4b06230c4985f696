-- weigh: what binds tenants under one policy, and what would under another. Writes nothing.
--
-- @keys usage
-- @argv now_ms:int present_json:str wanted_json:str period_parts:int rest:rest
--       rest: (name, start_ms, end_ms)* of the periods of both policies, `period_parts` arguments in all; then scopes:
--       tenant:tier, or * for the limits of the domain
-- @include stream
-- @include running
-- @include limits
-- REPLY: (binds, would_bind)*: the binding limit of each scope, '' for none

local periods = {}
for i = rest_at, rest_at + period_parts - 1, 3 do
  periods[ARGV[i]] = {tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])}
end

local function by_name(policy_json)
  local policy, tiers = cjson.decode(policy_json), {}
  for _, tier in ipairs(policy.tiers) do tiers[tier.name] = tier end
  return {tiers = tiers, limits = policy.limits}
end

local function binding_of(policy, scope, states)
  if scope == '*' then
    local _, _, why = allowance(policy.limits, states, now_ms, periods, 1)
    return why or ''
  end
  local _, name = split_stream(scope)
  local tier = policy.tiers[name]
  if not tier then return '' end
  local _, _, why = allowance(tier.limits, states, now_ms, periods, 1)
  if why then return why end
  if tier.concurrency > 0 and running_of(domain_tag .. scope) >= tier.concurrency then
    return 'concurrency ' .. tier.concurrency
  end
  return ''
end

local present, wanted, reply = by_name(present_json), by_name(wanted_json), {}
for i = rest_at + period_parts, #ARGV do
  local packed = redis.call('HGET', usage_key, ARGV[i])
  local states = packed and cmsgpack.unpack(packed) or {}
  reply[#reply + 1] = binding_of(present, ARGV[i], states)
  reply[#reply + 1] = binding_of(wanted, ARGV[i], states)
end
return reply
