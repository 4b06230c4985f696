-- @keys owned counters
-- @include pauses
-- @include named_limits
-- @include run_time
-- @include bury

-- Reading what was planned for a tenant, and what becomes of each entry.

local reply, owned = {}, {} -- what the worker is told; the same for `owned:<worker>`
local token_prefix -- set by the caller

-- About the candidate that is being started: how its records begin and end, what its last start was charged,
-- what was read that is no action and what goes back (each nil while there is nothing).
local record_before, record_after, last_charge, rejected, back

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

local function read_new(key, most)
  most = as_text(most)
  local read = redis.pcall('XREADGROUP', 'GROUP', 'workers', 'running', 'COUNT', most, 'STREAMS', key, '>')
  if read and read.err then -- somebody else deleted the stream, and perhaps made it again
    if not try('XGROUP', 'CREATE', key, 'workers', '0') then return {} end
    read = try('XREADGROUP', 'GROUP', 'workers', 'running', 'COUNT', most, 'STREAMS', key, '>')
  end
  return read and read[1][2] or {}
end

local function drop_rejected(key)
  if not rejected then return end
  redis.call('XACK', key, 'workers', unpack(rejected))
  redis.call('XDEL', key, unpack(rejected))
  if redis.call('XLEN', key) == 0 then redis.call('DEL', key) end
end

-- First attempts where nothing but a deadline can stop one, `meet` made short: most of what a claim does. Those in a
-- row are told as one run.
local function meet_all(tier, candidate, entries, now, periods)
  local before, after = record_before, ' 1' .. record_after
  local told, kept, met = #reply, #owned, 0
  local run_at
  for i = 1, #entries do
    local entry = entries[i]
    local id, head, data = read_plain_entry(entry[2])
    if id then
      if not run_at then
        told = told + 1
        run_at, reply[told] = told, ''
      end
      owned[kept + 1], owned[kept + 2] = id, before .. entry[1] .. after
      reply[told + 1], reply[told + 2] = head, data
      told, kept, met = told + 2, kept + 2, met + 1
    else
      if run_at then reply[run_at] = candidate.stream .. ' 1 ' .. (told - run_at) / 2 end
      meet(tier, candidate, entry[1], entry[2], 1, false, now, periods)
      told, kept, run_at = #reply, #owned, nil
    end
  end
  if run_at then reply[run_at] = candidate.stream .. ' 1 ' .. (told - run_at) / 2 end
  candidate.seen, candidate.starts = candidate.seen + met, candidate.starts + met
  candidate.handed = candidate.handed + met
end

-- Read from the line: what was given back first, then what is new. Returns how many turned out to be gone, whether
-- the stream has no more, and whether it has: where `left` are all that were counted, one more is asked for and, if
-- there is one, given back.
local function read_line(tier, candidate, key, wanted, left, now, periods)
  local vanished = 0
  if candidate.returned > 0 then
    local seen = candidate.seen
    local popped = read_returned(tier, candidate, key, math.min(wanted, candidate.returned), now, periods)
    candidate.returned = candidate.returned - popped
    wanted, left = wanted - popped, left - popped
    vanished = popped - (candidate.seen - seen) -- some may have been deleted meanwhile
  end
  if wanted == 0 then return vanished, false, true end
  local entries = read_new(key, left <= wanted and wanted + 1 or wanted)
  local one_more = entries[wanted + 1]
  if one_more then
    entries[wanted + 1] = nil
    go_back(candidate, one_more[1], 1)
  end
  if tier.by_run_time or some_type_paused or named_of_type then
    for i = 1, #entries do meet(tier, candidate, entries[i][1], entries[i][2], 1, false, now, periods) end
  else
    meet_all(tier, candidate, entries, now, periods)
  end
  return vanished, #entries < wanted, one_more ~= nil
end

-- Read what was planned, and more in place of what is set aside. `candidate.starts` becomes how many are starts,
-- `candidate.waiting` what is left. Virtual time is the tag of the action that started last. Returns how many
-- slots were not used because actions of a paused type were in the way.
local function start(tier, candidate, now, periods)
  local key = domain_tag .. candidate.stream
  record_before = token_prefix .. candidate.stream .. ' '
  if tier.charged_last ~= candidate.charge then
    tier.charged_last, tier.record_after = candidate.charge, ' ' .. now .. ' ' .. candidate.charge
  end
  record_after, last_charge, rejected, back = tier.record_after, candidate.charge, nil, nil
  candidate.charged, candidate.seen, candidate.starts, candidate.handed, candidate.aside = 0, 0, 0, 0, 0
  local wanted, vanished, replaced = candidate.take, 0, 0
  local short, perhaps_more
  repeat
    local aside, gone = candidate.aside, nil
    local left = candidate.waiting - vanished - candidate.handed - aside
    gone, short, perhaps_more = read_line(tier, candidate, key, wanted, left, now, periods)
    vanished, wanted, aside = vanished + gone, 0, candidate.aside - aside
    if aside > 0 then
      left = candidate.waiting - vanished - candidate.handed - candidate.aside
      wanted = instead_of(aside, candidate.aside, (short or candidate.refused) and 0 or left)
      replaced = replaced + wanted
    end
  until wanted == 0
  drop_rejected(key)
  if back then return_entries(candidate.stream, back) end
  if short then -- the stream has no more: somebody else deleted from it
    candidate.waiting = redis.call('ZCARD', returned_prefix .. candidate.stream)
  else
    candidate.waiting = math.max(candidate.waiting - vanished - candidate.handed - candidate.aside, 0)
    if candidate.waiting == 0 and perhaps_more then
      candidate.waiting = still_in_line(candidate.stream)
      candidate.allowed = candidate.allowed + candidate.waiting -- no limit has spoken about them: look again
    end
  end
  if not tier.by_run_time then candidate.charged = candidate.starts * candidate.charge end
  candidate.tag = candidate.tag - candidate.take * candidate.charge + candidate.charged
  if candidate.starts > 0 then
    tier.virtual_time = math.max(tier.virtual_time, candidate.tag - last_charge)
  end
  return candidate.aside - replaced
end
