-- @keys ready tags usage waiting returned_count
-- @include stream
-- @include limits
-- @include running

-- The heads of one tier's ready index, in order of virtual start time, looked at as far as slots need
-- them. A candidate is one of the tier's tenants.

local CHUNK = 50 -- the most heads looked up at once; the first look is at fewer, most are served from it
local some_returned = false -- does any tenant have entries that were given back? set by the caller
local quantum = 1 -- starts of one tenant in a row; set by the caller
local visits_left = 0 -- bounds the work of one call; set by the caller

local function earlier(a, b)
  return a.tag < b.tag or (a.tag == b.tag and a.tenant < b.tenant)
end

local function fetch(tier, wanted)
  local count = math.min(wanted + 1, tier.chunk) -- one more, to know whether there is more
  tier.chunk = math.min(2 * tier.chunk, CHUNK)
  local heads = redis.call('ZRANGE', ready_prefix .. tier.name, tier.offset, tier.offset + count - 1, 'WITHSCORES')
  local fetched, suffix, fresh, scopes = #heads / 2, ':' .. tier.name, tier.fresh, {}
  tier.offset = tier.offset + fetched
  tier.exhausted = fetched < count
  if fetched == 0 then return end
  for i = 1, fetched do scopes[i] = heads[2 * i - 1] .. suffix end
  local waiting = redis.call('HMGET', waiting_key, unpack(scopes))
  local returned = some_returned and redis.call('HMGET', returned_count_key, unpack(scopes)) or {}
  local packed = (tier.limits[1] or tier.by_run_time) and redis.call('HMGET', usage_key, unpack(scopes))
  for i = 1, fetched do
    fresh[#fresh + 1] = {
      tenant = heads[2 * i - 1], stream = scopes[i], tag = tonumber(heads[2 * i]), take = 0,
      waiting = tonumber(waiting[i] or 0), returned = tonumber(returned[i] or 0),
      packed = packed and (packed[i] or ''),
    }
  end
end

-- How many of what waits may start now.
local function look_at(tier, candidate, now, periods)
  local allowed = candidate.waiting
  if candidate.packed then
    candidate.states = candidate.packed ~= '' and cmsgpack.unpack(candidate.packed) or {}
    allowed = allowance(tier.limits, candidate.states, now, periods, allowed)
  end
  if tier.concurrency > 0 and allowed > 0 then
    allowed = math.min(allowed, math.max(tier.concurrency - running_of(domain_tag .. candidate.stream), 0))
  end
  candidate.allowed = allowed
end

-- In the middle of its turn: a tenant served goes on until it has had a quantum.
local function in_turn(candidate)
  return candidate.take % quantum ~= 0 and candidate.take < candidate.allowed
end

-- The tenant of this tier that is next, or nil. Held ones are set aside on the way.
local function peek(tier, now, periods, wanted)
  if tier.turn and in_turn(tier.turn) then return tier.turn end
  while true do
    local fresh = tier.fresh[tier.next]
    if not fresh and not tier.exhausted then
      fetch(tier, wanted)
      fresh = tier.fresh[tier.next]
    end
    local served = tier.served[tier.first_served]
    if served and (not fresh or earlier(served, fresh)) then return served end
    if not fresh then return nil end
    if not fresh.allowed then
      if visits_left <= 0 then return nil end
      visits_left = visits_left - 1
      look_at(tier, fresh, now, periods)
    end
    if fresh.allowed > 0 then return fresh end
    tier.touched[#tier.touched + 1] = fresh
    tier.next = tier.next + 1
  end
end

-- Plan one start of `candidate` (the one `peek` gave); after its turn it is back in line behind its new tag.
local function take(tier, candidate)
  local served = tier.served
  if tier.turn ~= candidate or not in_turn(candidate) then
    if served[tier.first_served] == candidate then
      tier.first_served = tier.first_served + 1
    else
      tier.next = tier.next + 1
      tier.touched[#tier.touched + 1] = candidate
    end
    tier.turn = candidate
  end
  candidate.take = candidate.take + 1
  candidate.tag = candidate.tag + candidate.charge
  if candidate.take < candidate.allowed and not in_turn(candidate) then
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
