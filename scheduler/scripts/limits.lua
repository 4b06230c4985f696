-- limits: what is used and left of every limit that binds a tenant's starts. Writes nothing.
-- The figures come from the functions that `claim` decides with.
--
-- @keys policy usage waiting held held_why
-- @argv now_ms:int tenant:str tier_name:str periods:rest
--       periods: (name, start_ms, end_ms)* of the calendar periods that contain now_ms
-- @include stream
-- @include running
-- @include reset
-- REPLY: {'ok', concurrency, running, waiting, held_until, held_why,
--         (scope, name, strategy, amount, window_ms, period, left, more_at, full_at)*}
--        held_until: ms, 'inf' (no time known) or ''; scope: 'tenant' or 'domain';
--        or {'nopolicy'}, {'notier', name*} (the policy has others), {'periods', name*}: call again with these

local policy_json = redis.call('GET', policy_key)
if not policy_json then return {'nopolicy'} end
local policy = cjson.decode(policy_json)
local periods = {}
for i = periods_at, #ARGV, 3 do periods[ARGV[i]] = {tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])} end
for _, name in ipairs(policy.periods) do
  if not periods[name] then return {'periods', unpack(policy.periods)} end
end

local tier, names = nil, {}
for _, each in ipairs(policy.tiers) do
  names[#names + 1] = each.name
  if each.name == tier_name then tier = each end
end
if not tier then return {'notier', unpack(names)} end

local stream = tenant .. ':' .. tier_name
local reply = {'ok', tier.concurrency, running_of(domain_tag .. stream),
  tonumber(redis.call('HGET', waiting_key, stream) or 0),
  redis.call('ZSCORE', held_key, stream) or '', redis.call('HGET', held_why_key, stream) or ''}

local function tell(scope, limits, usage_scope)
  if #limits == 0 then return end
  local packed = redis.call('HGET', usage_key, usage_scope)
  local states = packed and cmsgpack.unpack(packed) or {}
  for _, limit in ipairs(limits) do
    local left, more_at, full_at = standing(limit, states[limit[6]], now_ms, periods[limit[5]])
    for _, part in ipairs({scope, limit[1], limit[2], limit[3], limit[4], limit[5], left, more_at, full_at}) do
      reply[#reply + 1] = part
    end
  end
end

tell('tenant', tier.limits, stream)
tell('domain', policy.limits, '*')
return reply
