-- @include candidates
-- @include run_time

-- Who gets the slots of a claim, before anything is read.

local periods = {} -- of the calendar, by name; filled by the caller
local open, live = {}, {} -- tiers that may start something (filled by the caller); those of them with somebody left

-- A slot goes to the tier that is owed a whole start of its guaranteed share, else to the best priority. That one gets
-- as many in a row as there are until another one is owed a start; one, where tenants may have slots in common with their
-- lines in other tiers. `served` got as many before, of which others than it have not been credited `uncredited`.
local function choose(wanted, served, uncredited)
  local tiers, steps = live, wanted
  local best, best_head, owed, owed_head, gone = nil, nil, nil, nil, false
  for i = 1, #tiers do
    local tier = tiers[i]
    local head = tier.room > 0 and (tier.head or peek(tier, now_ms, periods, wanted, not best))
    if head then
      if not best then best, best_head = tier, head end
      local share = tier.share
      if share > 0 then
        local credit = tier.credit + share
        if uncredited > 0 and tier ~= served then credit = credit + share * uncredited end
        tier.credit = credit
        if credit >= 1000000 and (not owed or credit > owed.credit) then owed, owed_head = tier, head end
        if tier ~= best then
          local before_owed = (1000000 - credit) / share
          if before_owed < steps then steps = before_owed end
        end
      end
    else
      tier.credit, tier.gone, gone = 0, true, true
    end
  end
  if gone then
    local still = {}
    for _, tier in ipairs(tiers) do if not tier.gone then still[#still + 1] = tier end end
    live = still
  end
  if owed then return owed, owed_head, 1 end
  if not best or some_shared or steps <= 1 then return best, best_head, 1 end
  return best, best_head, math.min(math.ceil(steps), best.room)
end

-- Give up to `most` slots to a tier's tenants, this one first, a turn at a time. Returns how many.
local function give(tier, candidate, most, wanted)
  local given = 0
  repeat
    local taken, starts = candidate.take, candidate.allowed - candidate.take
    if not candidate.charge then
      local weight = candidate.rules.weight
      candidate.charge = tier.by_run_time
        and charge_for(estimate(candidate.states['~'] or {}, tier.estimates, ''), weight)
        or math.floor(1000000 / weight)
    end
    local turn = quantum - taken % quantum
    if turn < starts then starts = turn end
    if most - given < starts then starts = most - given end
    take(tier, candidate, starts)
    given = given + starts
    candidate = given < most and peek(tier, now_ms, periods, wanted - given, true)
  until not candidate
  tier.room = tier.room - given
  if tier.credit > 0 then tier.credit = math.max(tier.credit - given * 1000000, 0) end
  return given
end

-- Give away `count` slots among those who have not been read yet.
local function plan(count)
  live = {unpack(open)}
  for i = 1, #open do
    local tier = open[i]
    tier.served, tier.first_served, tier.turn, tier.head, tier.gone = {}, 1, false, false, false
  end
  local planned, tier, candidate, most, given = 0, nil, nil, nil, 1
  while planned < count do
    local wanted = count - planned
    tier, candidate, most = choose(wanted, tier, given - 1)
    if not tier then return planned end
    given = give(tier, candidate, most, wanted)
    planned = planned + given
  end
  if given > 1 then
    for i = 1, #live do -- as if `choose` had been asked for each
      local other = live[i]
      if other.share > 0 and other ~= tier then other.credit = other.credit + other.share * (given - 1) end
    end
  end
  return planned
end
