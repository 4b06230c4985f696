-- @keys counters
-- @include claim_state
-- @include aside
-- @include named_limits
-- @include run_time
-- @include bury

-- What becomes of an entry that something may stop, and of what is given back.

-- To the worker. Returns whether it is a start; if not it is past its deadline: to be answered, not run.
local function hand_over(tier, candidate, entry, head, id, deadline_ms, data, attempt, now)
  local at = #owned
  local is_start = deadline_ms == '0' or tonumber(deadline_ms) > now
  local suffix = is_start and record_after or ' 0 0'
  if tier.by_run_time then
    local action_type = rest_of_head(head)
    local charge = is_start
      and charge_for(estimate(candidate.states['~'] or {}, tier.estimates, action_type), candidate.rules.weight) or 0
    if is_start then last_charge = charge end
    candidate.charged = candidate.charged + charge
    suffix = ' ' .. (is_start and now or 0) .. ' ' .. charge .. ' ' .. candidate.rules.weight .. ' ' .. action_type
  end
  owned[at + 1] = id
  owned[at + 2] = record_before .. entry .. ' ' .. attempt .. suffix
  at = #reply
  reply[at + 1] = candidate.stream .. ' ' .. attempt .. ' 1'
  reply[at + 2], reply[at + 3] = head, data
  return is_start
end

-- Does this type stop one that was read? Set aside: true (while a type is being resumed, what is read for the
-- first time goes behind what is still aside). Refused by a named limit: it and all behind it go back.
local function stopped(candidate, action_type, entry, id, attempt, was_returned, now, periods)
  local kind = paused.types[action_type]
  if kind == 'type' or (kind == 'resuming' and not was_returned) then
    set_aside(candidate.stream, entry, id, action_type, attempt - 1)
    candidate.aside = candidate.aside + 1
    return true
  end
  if not named_of_type then return false end
  local free_at, why = use_named(action_type, now, periods)
  if not free_at then return false end
  candidate.refused = {free_at, why}
  return true
end

local function go_back(candidate, entry, attempt)
  if not park(candidate.stream, entry, attempt - 1) then return end
  back = back or {}
  back[#back + 1] = entry
end

-- One entry that was read. Counts in `candidate`: seen, starts, handed (these and expired ones), aside.
local function meet(tier, candidate, entry, fields, attempt, was_returned, now, periods)
  candidate.seen = candidate.seen + 1
  if candidate.refused then return go_back(candidate, entry, attempt) end
  local id, deadline_ms, data = read_entry(fields)
  if not id then
    bury(candidate.stream, now, 'malformed entry: not written by enqueue', attempt, '', cjson.encode(fields or {}))
    redis.call('HINCRBY', counters_key, tier.name .. ':dead', 1)
    rejected = rejected or {}
    rejected[#rejected + 1] = entry
    return
  end
  local expired = deadline_ms ~= '0' and tonumber(deadline_ms) <= now -- is answered whatever its type
  if (some_type_paused or named_of_type) and not expired then
    local action_type = rest_of_head(fields[2])
    if stopped(candidate, action_type, entry, id, attempt, was_returned, now, periods) then
      if candidate.refused then go_back(candidate, entry, attempt) end
      return
    end
  end
  candidate.handed = candidate.handed + 1
  if hand_over(tier, candidate, entry, fields[2], id, deadline_ms, data, attempt, now) then
    candidate.starts = candidate.starts + 1
  end
end

local function read_returned(tier, candidate, key, most, now, periods)
  local members = redis.call('ZPOPMIN', returned_prefix .. candidate.stream, most)
  for i = 1, #members, 2 do
    local entry = unsortable(members[i])
    local claimed = try('XCLAIM', key, 'workers', 'running', 0, entry)
    claimed = claimed and claimed[1]
    if claimed then
      local pending = redis.call('XPENDING', key, 'workers', entry, entry, 1)[1]
      meet(tier, candidate, entry, claimed[2], pending and pending[4] or 1, true, now, periods)
    else
      try('XACK', key, 'workers', entry) -- 6.2 keeps the record of a deleted entry
    end
  end
  forget_returned(candidate.stream, #members / 2)
  return #members / 2
end

local function drop_rejected(key)
  redis.call('XACK', key, 'workers', unpack(rejected))
  redis.call('XDEL', key, unpack(rejected))
  if redis.call('XLEN', key) == 0 then redis.call('DEL', key) end
end
