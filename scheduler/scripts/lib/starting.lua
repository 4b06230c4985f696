-- @keys owned returned
-- @include claim_begun
-- @include claim_state
-- @include stream
-- @include variadic
-- @defer meeting meet read_returned drop_rejected go_back return_entries still_in_line

-- Reading what was planned for a tenant, and what becomes of each entry.

local ASIDE_AT_ONCE = 100 -- so many of a claim cost it no slot
local ASIDE_OF_ONE = 25 -- so many of them of one tenant: the others' turn comes in the same claim
local aside_left = ASIDE_AT_ONCE

local meet, read_returned, drop_rejected, go_back, return_entries, still_in_line -- of `meeting`, when it is needed

local function need_meeting()
  if meet then return end
  meet, read_returned, drop_rejected, go_back, return_entries, still_in_line = meeting()
end

-- How many more to read of a line that just gave `count` away: they take the place of these.
local function instead_of(count, of_line, left_in_line)
  aside_left = aside_left - count
  return math.max(math.min(count, aside_left, ASIDE_OF_ONE - of_line, left_in_line), 0)
end

local ahead = {} -- what has been read of these streams, and not met yet

-- How many to ask a line for: where `left` are all that were counted, one more, to see that there is none.
local function most_of(wanted, left)
  return left <= wanted and wanted + 1 or wanted
end

-- What lines are asked for is read at once where it is as many: a command costs more than a line in one. Where somebody
-- has deleted a stream nothing is read, and each line is asked when it is its turn.
local function read_ahead(tiers)
  if some_type_paused or named_of_type then return end
  local by_most = {}
  for _, tier in ipairs(tiers) do
    for at = tier.read + 1, #tier.touched do
      local candidate = tier.touched[at]
      local wanted = candidate.take
      if wanted > 0 and candidate.returned == 0 then
        local most = most_of(wanted, candidate.waiting)
        local keys = by_most[most]
        if not keys then
          keys = {}
          by_most[most] = keys
        end
        keys[#keys + 1] = domain_tag .. candidate.stream
      end
    end
  end
  for most, keys in pairs(by_most) do
    local count = #keys
    if count > 1 then
      for i = 1, count do keys[count + i] = '>' end
      local read = try('XREADGROUP', 'GROUP', 'workers', 'running', 'COUNT', as_text(most), 'STREAMS', unpack(keys))
      for i = 1, read and #read or 0 do ahead[read[i][1]] = read[i][2] end
    end
  end
end

local function read_new(key, most)
  local entries = ahead[key]
  if entries then
    ahead[key] = nil
    return entries
  end
  if read_before and read_key == key then
    entries, read_before = read_before, nil
    return entries
  end
  most = as_text(most)
  local read = redis.pcall('XREADGROUP', 'GROUP', 'workers', 'running', 'COUNT', most, 'STREAMS', key, '>')
  if read and read.err then -- somebody else deleted the stream, and perhaps made it again
    if not try('XGROUP', 'CREATE', key, 'workers', '0') then return {} end
    read = try('XREADGROUP', 'GROUP', 'workers', 'running', 'COUNT', most, 'STREAMS', key, '>')
  end
  return read and read[1][2] or {}
end

-- What is told in a row of one line, from `run_at` on: its header; how many they are.
local function end_run(candidate, run_at, told)
  local count = (told - run_at) / 2
  reply[run_at] = candidate.stream .. ' 1 ' .. as_text(count)
  return count
end

-- First attempts where nothing but a deadline that has passed can stop one, `meet` made short: most of what a claim
-- does. Those in a row are told as one run.
local function meet_all(tier, candidate, entries, now, periods)
  local before, after = record_before, ' 1' .. record_after
  local items, records, match = reply, owned, string.match
  local told, kept, met = #items, #records, 0
  local run_at
  for i = 1, #entries do
    local entry = entries[i]
    local fields, id, head, data = entry[2], nil, nil, nil
    if fields and fields[1] == 'head' and fields[3] == 'data' and not fields[5] then
      head, data = fields[2], fields[4]
      id = #head <= MOST_HEAD and match(head, '^v1 ([!-~]+) 0 [!-~]+ %d+ [!-~]+ [!-~]+$') or id_in_time(fields, now)
    end
    if id then
      if not run_at then
        told = told + 1
        run_at, items[told] = told, ''
      end
      records[kept + 1] = id
      kept = kept + 2
      records[kept] = before .. entry[1] .. after
      items[told + 1] = head
      told = told + 2
      items[told] = data
    else
      if run_at then met = met + end_run(candidate, run_at, told) end
      need_meeting()
      meet(tier, candidate, entry[1], fields, 1, false, now, periods)
      told, kept, run_at = #items, #records, nil
    end
  end
  if run_at then met = met + end_run(candidate, run_at, told) end
  candidate.seen, candidate.starts = candidate.seen + met, candidate.starts + met
  candidate.handed = candidate.handed + met
end

-- Read from the line: what was given back first, then what is new. Returns how many turned out to be gone, whether
-- the stream has no more, and whether it has: where `left` are all that were counted, one more is asked for and, if
-- there is one, given back.
local function read_line(tier, candidate, key, wanted, left, now, periods)
  local vanished = 0
  if candidate.returned > 0 then
    need_meeting()
    local seen = candidate.seen
    local popped = read_returned(tier, candidate, key, math.min(wanted, candidate.returned), now, periods)
    candidate.returned = candidate.returned - popped
    wanted, left = wanted - popped, left - popped
    vanished = popped - (candidate.seen - seen) -- some may have been deleted meanwhile
  end
  if wanted == 0 then return vanished, false, true end
  local entries = read_new(key, most_of(wanted, left))
  local one_more = entries[wanted + 1]
  if one_more then
    entries[wanted + 1] = nil
    need_meeting()
    go_back(candidate, one_more[1], 1)
  end
  if tier.by_run_time or some_type_paused or named_of_type then
    need_meeting()
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
  local wanted, vanished, replaced, met = candidate.take, 0, 0, false
  if candidate.returned == 0 and not (tier.by_run_time or some_type_paused or named_of_type) then
    local entries = read_new(key, most_of(wanted, candidate.waiting))
    if #entries == wanted then
      meet_all(tier, candidate, entries, now, periods)
      if candidate.starts == wanted then -- nearly always: what follows made short
        candidate.waiting, candidate.charged = candidate.waiting - wanted, wanted * candidate.charge
        local started_at = candidate.tag - candidate.charge
        if started_at > tier.virtual_time then tier.virtual_time = started_at end
        return 0
      end
      met = true
    else
      read_before, read_key = entries, key
    end
  end
  local short, perhaps_more
  repeat
    local aside, gone = candidate.aside, nil
    local left = candidate.waiting - vanished - candidate.handed - aside
    if met then gone, short, perhaps_more, met = 0, false, false, false
    else gone, short, perhaps_more = read_line(tier, candidate, key, wanted, left, now, periods) end
    vanished, wanted, aside = vanished + gone, 0, candidate.aside - aside
    if aside > 0 then
      left = candidate.waiting - vanished - candidate.handed - candidate.aside
      wanted = instead_of(aside, candidate.aside, (short or candidate.refused) and 0 or left)
      replaced = replaced + wanted
    end
  until wanted == 0
  if rejected then drop_rejected(key) end
  if back then return_entries(candidate.stream, back) end
  if short then -- the stream has no more: somebody else deleted from it
    candidate.waiting = redis.call('ZCARD', returned_prefix .. candidate.stream)
  else
    candidate.waiting = math.max(candidate.waiting - vanished - candidate.handed - candidate.aside, 0)
    if candidate.waiting == 0 and perhaps_more then
      need_meeting()
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
