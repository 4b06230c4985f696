-- @keys policy usage overrides
-- @include stream
-- @include reset
-- @include zones

-- What read-only scripts share: the policy, the calendar periods they were told, how limits stand.

-- The policy, or nil and a reply that says what is missing.
local function read_policy(periods_at)
  local text = redis.call('GET', policy_key)
  if not text then return nil, {'nopolicy'} end
  local policy, periods = cjson.decode(text), {}
  for i = periods_at, #ARGV, 3 do periods[ARGV[i]] = {tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])} end
  for _, name in ipairs(policy.periods) do
    if not periods[name] then return nil, {'periods', unpack(policy.periods)} end
  end
  return policy, periods
end

local function states_of(scope)
  local packed = redis.call('HGET', usage_key, scope)
  return packed and cmsgpack.unpack(packed) or {}
end

-- {scope, name, strategy, amount, window_ms, period, left, more_at, full_at} of each limit, appended to `list`.
local function add_standings(list, scope, limits, states, now, periods)
  for _, limit in ipairs(limits) do
    local left, more_at, full_at = standing(limit, states[limit[6]], now, periods[limit[5]])
    list[#list + 1] = {scope, limit[1], limit[2], limit[3], limit[4], limit[5], left, more_at, full_at}
  end
end

-- The rules of one tenant: its tier's, or what operators have set instead.
local function rules_of(tier, tenant)
  local text = redis.call('HGET', overrides_key, tenant)
  local said = text and cjson.decode(text) or {}
  local limits = said.limits or tier.limits
  return {
    limits = said.time_zone and in_zone(limits, said.time_zone) or limits, concurrency = said.max_concurrency or tier.concurrency,
    weight = said.weight or tier.weight, paused = said.paused and text or nil,
    own = (said.limits or said.max_concurrency or said.weight or said.time_zone) and 1 or 0,
  }
end

-- The reply that asks for calendar periods which only an override has, or nil.
local function ask_for_periods(limits, periods, names)
  local missing = false
  for _, limit in ipairs(limits) do
    if limit[5] ~= '' and not periods[limit[5]] then
      names[#names + 1] = limit[5]
      missing = true
    end
  end
  return missing and {'periods', unpack(names)} or nil
end

-- Limits that bind a tenant's starts together with those of others: of its tier, its domain, and those that
-- action types share (of all types when `action_type` is nil).
local function add_shared_standings(list, policy, tier, action_type, now, periods)
  add_standings(list, 'tier', tier.tier_limits or {}, states_of('*:' .. tier.name), now, periods)
  add_standings(list, 'domain', policy.limits, states_of('*'), now, periods)
  for _, each in ipairs(policy.named or {}) do
    local wanted = action_type == nil
    for _, name in ipairs(each.types) do wanted = wanted or name == action_type end
    if wanted then
      local first = #list + 1
      add_standings(list, 'named', each.limits, states_of('@' .. each.name), now, periods)
      for i = first, #list do list[i][2] = each.name .. ' ' .. list[i][2] end
    end
  end
end
