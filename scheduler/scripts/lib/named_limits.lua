-- @keys usage
-- @include claim_state
-- @include limits

-- Limits that several action types share, those of an upstream service: asked when an entry has been read, for only
-- then its type is known.

local function read_named_limits(of_policy, now, periods, most)
  local scopes = {}
  for i, each in ipairs(of_policy) do scopes[i] = '@' .. each.name end
  local packed = redis.call('HMGET', usage_key, unpack(scopes))
  named, named_of_type = of_policy, {}
  for i, each in ipairs(of_policy) do
    each.scope, each.used = scopes[i], 0
    each.states = packed[i] and cmsgpack.unpack(packed[i]) or {}
    each.pressed_until = pressed_until(scopes[i], now)
    each.left = each.pressed_until > 0 and 0 or allowance(each.limits, each.states, now, periods, most)
    for _, action_type in ipairs(each.types) do
      named_of_type[action_type] = named_of_type[action_type] or {}
      table.insert(named_of_type[action_type], each)
    end
  end
end

-- What was used is written into its state, once: nothing of it starts after that.
local function spend_named(each, now, periods)
  if each.used == 0 or each.worthless_at then return end
  each.worthless_at = spend(each.limits, each.states, now, periods, each.used)
end

-- Use one of each of a type's limits; or, without using any, when the last of those that refuse it frees, and why.
local function use_named(action_type, now, periods)
  local free_at, why = 0, nil
  for _, each in ipairs(named_of_type[action_type] or {}) do
    if each.used >= each.left then
      spend_named(each, now, periods)
      local _, at = allowance(each.limits, each.states, now, periods, 1)
      at = each.pressed_until > 0 and each.pressed_until or at
      if at >= free_at then free_at, why = at, 'limit ' .. each.name end
    end
  end
  if why then return free_at, why end
  for _, each in ipairs(named_of_type[action_type] or {}) do each.used = each.used + 1 end
end
