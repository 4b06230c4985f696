-- @keys usage usage_due ready tags fairness
-- @include stream
-- @include variadic

-- Tiers that are fair by run time: what a start is charged, and the correction once it has been measured.
-- An estimate is a moving average in microseconds per tenant and action type, kept with the tenant's usage
-- under '~'; '' is the average of all types, and the scope '*:<tier>' knows the whole tier.

local UNKNOWN_RUN_TIME_US = 100000 -- before anything of the tier has ended
local ESTIMATES_KEPT_MS = 3600000
local TYPES_KEPT = 32 -- per tenant; further types are charged the tenant's average

local function estimate(own, of_tier, action_type)
  return own[action_type] or of_tier[action_type] or own[''] or of_tier[''] or UNKNOWN_RUN_TIME_US
end

local function charge_for(run_time_us, weight)
  return math.max(1, math.floor(run_time_us / weight))
end

local function learn(estimates, action_type, run_time_us)
  if not estimates[action_type] then
    local known = 0
    for _ in pairs(estimates) do known = known + 1 end
    if known > TYPES_KEPT then return end
    estimates[action_type] = run_time_us
  else
    estimates[action_type] = estimates[action_type] + math.floor((run_time_us - estimates[action_type]) / 4)
  end
end

-- Move tags by {stream = by how much}. A tag that virtual time has passed is forgotten; what such a tenant
-- used beyond its charge counts from now.
local function correct_tags(deltas)
  for stream, delta in pairs(deltas) do
    local tenant, tier = split_stream(stream)
    local score = redis.call('ZSCORE', ready_prefix .. tier, tenant)
    if score then
      redis.call('ZADD', ready_prefix .. tier, tonumber(score) + delta, tenant)
    else
      local virtual_time = tonumber(redis.call('HGET', fairness_key, 'vt:' .. tier) or 0)
      local tag = tonumber(redis.call('ZSCORE', tags_prefix .. tier, tenant) or 0)
      if tag > virtual_time or delta > 0 then
        redis.call('ZADD', tags_prefix .. tier, math.max(tag, virtual_time) + delta, tenant)
      end
    end
  end
end

-- Learn from measured attempts, {stream, action_type, run_time_us} each.
local function learn_all(now, measured)
  local scopes, of_scope = {}, {}
  for _, one in ipairs(measured) do
    local _, tier = split_stream(one[1])
    for _, scope in ipairs({one[1], '*:' .. tier}) do
      if not of_scope[scope] then
        of_scope[scope] = {}
        scopes[#scopes + 1] = scope
      end
      table.insert(of_scope[scope], one)
    end
  end
  local packed, usage, due = redis.call('HMGET', usage_key, unpack(scopes)), {}, {}
  for i, scope in ipairs(scopes) do
    local states = packed[i] and cmsgpack.unpack(packed[i]) or {}
    states['~'] = states['~'] or {}
    for _, one in ipairs(of_scope[scope]) do
      learn(states['~'], '', one[3])
      learn(states['~'], one[2], one[3])
    end
    usage[#usage + 1] = scope
    usage[#usage + 1] = cmsgpack.pack(states)
    due[#due + 1] = now + ESTIMATES_KEPT_MS
    due[#due + 1] = scope
  end
  write_all('HSET', usage_key, usage)
  each_slice(due, 4000, function(...) redis.call('ZADD', usage_due_key, 'GT', ...) end)
end
