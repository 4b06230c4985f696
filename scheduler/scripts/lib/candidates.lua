-- @keys ready tags usage waiting returned_count backpressure
-- @include claim_state
-- @include stream
-- @defer own_rules override all_known
-- @defer tenant_slots has_slot count_handed
-- @include limits

-- The heads of one tier's ready index, in order of virtual start time, looked at as far as slots need
-- them. A candidate is one of the tier's tenants; its `rules` are the tier's, or what operators have set.
-- Every field of a candidate has a place in its table from the beginning (16): a claim makes many of them. What is
-- done for every turn avoids calls, of functions of its own and of the library: in a claim of many slots they add up.

local CHUNK = 50 -- the most heads looked up at once; the first look is at fewer, most are served from it
local FIRST_CHUNK = 8 -- of the tier that has the slots; another one shows a head or two, for what it may be owed
local function earlier(a, b)
  return a.tag < b.tag or (a.tag == b.tag and a.tenant < b.tenant)
end

-- The next heads of a tier, appended to `found`; what is known of them is looked up by `look_up`.
local function find_heads(tier, wanted, is_best, found)
  local count = is_best and tier.chunk < FIRST_CHUNK and FIRST_CHUNK or tier.chunk
  tier.chunk = 2 * count < CHUNK and 2 * count or CHUNK
  if wanted < count then count = wanted + 1 end -- one more, to know whether there is more
  local heads = redis.call('ZRANGE', ready_prefix .. tier.name, tier.offset, tier.offset + count - 1, 'WITHSCORES')
  local fetched, suffix, fresh = #heads / 2, ':' .. tier.name, tier.fresh
  local before, known = #fresh, #found
  tier.offset = tier.offset + fetched
  tier.exhausted = fetched < count
  for i = 1, fetched do
    local tenant = heads[2 * i - 1]
    local candidate = {
      tenant = tenant, stream = tenant .. suffix, tag = heads[2 * i] + 0, take = 0, waiting = 0, returned = 0,
      states = false, pressed_until = 0, rules = tier,
    }
    fresh[before + i], found[known + i] = candidate, candidate
  end
  return fetched
end

local function look_up(found)
  if not found[1] then return end
  local scopes, limited, limited_scopes = {}, {}, {}
  for i = 1, #found do
    local candidate = found[i]
    local scope, tier = candidate.stream, candidate.rules
    scopes[i] = scope
    if tier.limits[1] or tier.by_run_time or some_overridden then
      local at = #limited + 1
      limited[at], limited_scopes[at] = candidate, scope
    end
  end
  local waiting = redis.call('HMGET', waiting_key, unpack(scopes))
  for i = 1, #found do found[i].waiting = (waiting[i] or 0) + 0 end
  if limited[1] then
    local packed = redis.call('HMGET', usage_key, unpack(limited_scopes))
    for i = 1, #limited do limited[i].states = packed[i] or '' end
  end
  if some_returned then
    local returned = redis.call('HMGET', returned_count_key, unpack(scopes))
    for i = 1, #found do found[i].returned = (returned[i] or 0) + 0 end
  end
  if some_pressed then
    local pressed = redis.call('ZMSCORE', backpressure_key, unpack(scopes))
    for i = 1, #found do found[i].pressed_until = (pressed[i] or 0) + 0 end
  end
  if some_overridden then
    if not override then override, all_known = own_rules() end
    override(found)
  end
end

-- The first heads of all these tiers, at once.
local function find_first_heads(tiers, wanted)
  local found, is_best = {}, true
  for _, tier in ipairs(tiers) do
    if tier.room > 0 and find_heads(tier, wanted, is_best, found) > 0 then is_best = false end
  end
  look_up(found)
end

-- How many of what waits the limits let start now.
local function look_at(candidate, now, periods)
  local allowed, rules = candidate.waiting, candidate.rules
  if rules.overridden and not rules.paused and not all_known(rules.limits, now, periods) then
    candidate.unsaid, allowed = true, 0
  end
  if rules.paused or candidate.pressed_until > now then allowed = 0 end
  if candidate.states then -- packed until it is looked at
    candidate.states = candidate.states ~= '' and cmsgpack.unpack(candidate.states) or {}
    if allowed > 0 then allowed = allowance(rules.limits, candidate.states, now, periods, allowed) end
  end
  candidate.allowed = allowed
end

-- Why a tenant of which nothing may start is held, and until when.
local function binding(candidate, now, periods)
  local rules = candidate.rules
  if rules.paused then return 'inf', 'paused' end
  if candidate.pressed_until > now then return candidate.pressed_until, 'backpressure' end
  local _, free_at, why = allowance(rules.limits, candidate.states or {}, now, periods, 1)
  if why then return free_at, why end
  return 'inf', 'concurrency ' .. rules.concurrency
end

local function startable(candidate)
  return candidate.take < candidate.allowed and (not some_shared or has_slot(candidate))
end

-- The tenant of this tier that is next, or nil. Held ones are set aside on the way.
local function look_for_next(tier, now, periods, wanted, is_best)
  local turn = tier.turn -- a tenant served goes on until it has had a quantum
  if turn and turn.take % quantum ~= 0 and startable(turn) then return turn end
  while true do
    local fresh = tier.fresh[tier.next]
    if not fresh and not tier.exhausted then
      local found = {}
      find_heads(tier, wanted, is_best, found)
      look_up(found)
      fresh = found[1]
    end
    local served = tier.served[tier.first_served]
    while served and not startable(served) do -- another line of the tenant took the last slot
      tier.first_served = tier.first_served + 1
      served = tier.served[tier.first_served]
    end
    if served and (not fresh or earlier(served, fresh)) then return served end
    if not fresh then return nil end
    if not fresh.allowed then
      if visits_left <= 0 then return nil end
      visits_left = visits_left - 1
      look_at(fresh, now, periods)
    end
    if startable(fresh) then return fresh end
    if not fresh.unsaid then tier.touched[#tier.touched + 1] = fresh end -- nobody can say until when it is held
    tier.next = tier.next + 1
  end
end

-- The same, remembered until somebody takes it, or may have taken its slot.
local function peek(tier, now, periods, wanted, is_best)
  if some_shared then return look_for_next(tier, now, periods, wanted, is_best) end
  local head = tier.head
  if not head then
    head = look_for_next(tier, now, periods, wanted, is_best)
    tier.head = head
  end
  return head
end

-- Plan starts of `candidate` (the one `peek` gave), no more than its turn has left; after its turn it is back in line
-- behind its new tag.
local function take(tier, candidate, starts)
  tier.head = false
  local served, taken = tier.served, candidate.take
  if tier.turn ~= candidate or taken % quantum == 0 then
    if served[tier.first_served] == candidate then
      tier.first_served = tier.first_served + 1
    else
      tier.next = tier.next + 1
      tier.touched[#tier.touched + 1] = candidate
    end
    tier.turn = candidate
  end
  taken = taken + starts
  candidate.take = taken
  candidate.tag = candidate.tag + starts * candidate.charge
  if some_shared then planned_by[candidate.tenant] = (planned_by[candidate.tenant] or 0) + starts end
  if taken % quantum ~= 0 then
    if not some_shared and taken < candidate.allowed then tier.head = candidate end -- as `look_for_next` would find
  elseif startable(candidate) then
    local at = #served + 1
    while at > tier.first_served and earlier(candidate, served[at - 1]) do
      served[at] = served[at - 1]
      at = at - 1
    end
    served[at] = candidate
  end
end

-- Is there anybody behind those looked at?
local function something_left(tier)
  return tier.fresh[tier.next] ~= nil or not tier.exhausted
end
