-- @keys overrides
-- @include claim_state
-- @include zones

-- Tenants for whom operators have set something.

-- What operators have set for a tenant outranks its tier.
local function override(found)
  local tenants = {}
  for i, candidate in ipairs(found) do tenants[i] = candidate.tenant end
  for i, text in ipairs(redis.call('HMGET', overrides_key, unpack(tenants))) do
    if text then
      local said, of_tier = cjson.decode(text), found[i].rules
      local limits = said.limits or of_tier.limits
      found[i].rules = {
        overridden = true, paused = said.paused, weight = said.weight or of_tier.weight,
        limits = said.time_zone and in_zone(limits, said.time_zone) or limits,
        concurrency = said.max_concurrency or of_tier.concurrency,
      }
    end
  end
end

local function all_known(limits, now, periods)
  for _, limit in ipairs(limits) do
    if limit[5] ~= '' and not know_period(limit[5], now, periods) then
      unknown_periods[#unknown_periods + 1] = limit[5]
      return false
    end
  end
  return true
end
