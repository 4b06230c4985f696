-- @keys policy usage overrides held held_why
-- @include waiting
-- @include limits

-- What was claimed and never started gives its starts back, where that cannot let more through than a limit allows;
-- the oracle is `unspend` in scheduler/limits.py, which says where it can.

local HOLDS_LOOKED_AT = 100 -- of those that wait for a named limit

-- The state without `count` starts at `at`; nil when nothing is left in it.
local UNSPEND = {}

UNSPEND['moving-window'] = function(_, state, at, count)
  local first = first_since(state, at)
  local last = first
  while last <= #state / WIDTH and last < first + count and start_at(state, last) == at do last = last + 1 end
  state = string.sub(state, 1, (first - 1) * WIDTH) .. string.sub(state, (last - 1) * WIDTH + 1)
  return state ~= '' and state or nil
end

UNSPEND['fixed-window'] = function(limit, state, at, count)
  if at >= state[1] - limit[4] and at < state[1] then state[2] = state[2] - count end
  return state[2] > 0 and state or nil
end

UNSPEND['sliding-window-counter'] = function(limit, state, at, count)
  local index = math.floor(at / limit[4])
  if index == state[1] then state[3] = math.max(state[3] - count, 0)
  elseif index == state[1] - 1 then state[2] = math.max(state[2] - count, 0) end
  return state[2] + state[3] > 0 and state or nil
end

UNSPEND['calendar'] = function(_, state, at, count)
  if at >= state[1] then state[2] = state[2] - count end
  return state[2] > 0 and state or nil
end

-- What each of these types counts against, apart from its tenant, tier and domain.
local function scopes_of_type(policy)
  local scopes = {}
  for _, each in ipairs(policy.named or {}) do
    for _, action_type in ipairs(each.types) do
      scopes[action_type] = scopes[action_type] or {}
      table.insert(scopes[action_type], each)
    end
  end
  return scopes
end

-- The limits of each scope that these starts counted against, and how many at which time.
local function count_unstarted(policy, unstarted)
  local of_tier, of_type, scopes, order = {}, scopes_of_type(policy), {}, {}
  for _, tier in ipairs(policy.tiers) do of_tier[tier.name] = tier end
  local function count(scope, limits, at)
    if #limits == 0 then return end
    local known = scopes[scope]
    if not known then
      known = {limits = limits, starts = {}}
      scopes[scope] = known
      order[#order + 1] = scope
    end
    known.starts[at] = (known.starts[at] or 0) + 1
  end
  local own = {}
  for _, start in ipairs(unstarted) do
    local stream, at = start[1], start[2]
    local tenant, tier = split_stream(stream)
    if own[tenant] == nil then
      local text = redis.call('HGET', overrides_key, tenant)
      own[tenant] = text and cjson.decode(text).limits or false
    end
    tier = of_tier[tier]
    if tier then
      count(stream, own[tenant] or tier.limits, at)
      count('*:' .. tier.name, tier.tier_limits or {}, at)
    end
    count('*', policy.limits, at)
    for _, each in ipairs(next(of_type) and of_type[start[3]()] or {}) do
      count('@' .. each.name, each.limits, at)
    end
  end
  return scopes, order
end

-- Tenants held by a limit that has something to give again: their own, or a named one that they wait for.
local function look_at_holds_again(streams, named)
  if redis.call('EXISTS', held_key) == 0 then return end
  local members, own = {}, {}
  for _, stream in ipairs(streams) do
    if redis.call('ZSCORE', held_key, stream) then
      members[#members + 1] = stream
      own[stream] = true
    end
  end
  if next(named) then
    for _, stream in ipairs(redis.call('ZRANGE', held_key, 0, HOLDS_LOOKED_AT - 1)) do
      if not own[stream] then members[#members + 1] = stream end
    end
  end
  if #members == 0 then return end
  local ending = {}
  for i, why in ipairs(redis.call('HMGET', held_why_key, unpack(members))) do
    local waits_for = why and string.match(why, '^limit (.+)$')
    if own[members[i]] and why ~= 'paused' and why ~= 'backpressure' or named[waits_for or ''] then
      ending[#ending + 1] = members[i]
    end
  end
  end_holds(ending)
end

-- Give the starts of {stream, started_ms, function that tells the action type} each back to every limit they
-- counted against.
local function unspend(unstarted)
  local text = #unstarted > 0 and redis.call('GET', policy_key)
  if not text then return end
  local scopes, order = count_unstarted(cjson.decode(text), unstarted)
  if #order == 0 then return end
  local usage, streams, named = {}, {}, {}
  for i, packed in ipairs(redis.call('HMGET', usage_key, unpack(order))) do
    local scope = order[i]
    if packed then
      local states, of_scope = cmsgpack.unpack(packed), scopes[scope]
      for _, limit in ipairs(of_scope.limits) do
        for at, count in pairs(of_scope.starts) do
          local state = states[limit[6]]
          if state then states[limit[6]] = UNSPEND[limit[2]](limit, state, at, count) end
        end
      end
      usage[#usage + 1] = scope
      usage[#usage + 1] = cmsgpack.pack(states)
      local name = string.match(scope, '^@(.+)$')
      if name then named[name] = true
      elseif not string.find(scope, '^%*') then streams[#streams + 1] = scope end
    end
  end
  if #usage == 0 then return end
  write_all('HSET', usage_key, usage)
  look_at_holds_again(streams, named)
end
