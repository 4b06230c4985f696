-- @include claim_state
-- @include running

-- Where slots of a tenant count over several lines.

-- Is there a slot left of those that all lines of this tenant share?
local function has_slot(candidate)
  local most, tenant = candidate.rules.concurrency, candidate.tenant
  if most == 0 then return true end
  running_by[tenant] = running_by[tenant] or running_of_tenant(tenant, all_tiers)
  return running_by[tenant] + (planned_by[tenant] or 0) < most
end

-- What was planned for a candidate has been read, and `handed` of it to a worker.
local function count_handed(candidate, handed)
  local tenant = candidate.tenant
  planned_by[tenant] = planned_by[tenant] - candidate.take
  if running_by[tenant] then running_by[tenant] = running_by[tenant] + handed end
end
