-- move: what waits of a tenant in one tier goes to another, in its order and behind what waits there already; a
-- bounded number per call. The call that finds nothing left registers the tenant for its new tier in the same
-- step, so that whatever is enqueued later comes behind. What runs finishes where it is.
--
-- @keys registry actions usage usage_due scheduled delayed_count moving overrides operations
-- @argv now_ms:int tenant:str stage:str record:str from_tier:str most:int cursor:str
--       stage: 'begin' writes `record` (see `Moving` in scheduler/moving.py); the others do nothing without a record
--       whose id is `record`: 'step' moves, 'last' too, out of the last tier to be emptied, 'end' forgets the record
--       cursor: '0', then what the reply says
-- @include aside
-- @include delayed
-- @include bury
-- @include operations
-- @include wake
-- REPLY: begin: {'begun', the record, or the one there of the same move} or {'busy', the record of another move};
--        end: 1; else {moved by now, cursor, left}; left 0: nothing is left to be moved. Or {'gone'}: no such move;
--        or {'key', name}: no stream stands there

local function read_record(text)
  local id, arrived, moved, tier, source, said = string.match(text or '', '^(%S+) (%d) (%d+) (%S+) (%S+)\n(.*)$')
  return {id = id, arrived = arrived, moved = tonumber(moved), tier = tier, source = source, said = said}
end

local function write_record(known)
  redis.call('HSET', moving_key, tenant, string.format('%s %s %d %s %s\n%s',
    known.id, known.arrived, known.moved, known.tier, known.source, known.said))
end

local there = redis.call('HGET', moving_key, tenant)
local known = read_record(there)
if stage == 'begin' then
  local wanted = read_record(record)
  if not there then
    redis.call('HSET', moving_key, tenant, record)
    return {'begun', record}
  end
  local same = known.tier == wanted.tier and known.source == wanted.source
  return {same and 'begun' or 'busy', there}
end
if known.id ~= record then return {'gone'} end
if stage == 'end' then
  redis.call('HDEL', moving_key, tenant)
  return 1
end
if known.arrived == '1' then return {known.moved, '0', 0} end

local to_tier = known.tier
local from, to = tenant .. ':' .. from_tier, tenant .. ':' .. to_tier
local from_key, to_key = domain_tag .. from, domain_tag .. to

local moved, gone, budget = 0, {}, most
local left_line, places = 0, {}

local function remember(id, entry, aside_type)
  places[#places + 1] = id
  places[#places + 1] = to .. ' ' .. entry .. (aside_type ~= '' and ' ' .. aside_type or '')
end

-- What waits in the new tier for its first attempt is delivered to `parked`, so that moved entries, which are
-- there for a further one, can be delivered behind it. False: there is more of it than this call may do.
local function deliver_what_waits_there()
  local read = try('XREADGROUP', 'GROUP', 'workers', 'parked', 'COUNT', budget + 1, 'STREAMS', to_key, '>')
  local entries, members = read and read[1][2] or {}, {}
  for _, entry in ipairs(entries) do
    park(to, entry[1], 0)
    members[#members + 1] = 0
    members[#members + 1] = sortable(entry[1])
  end
  if #entries > 0 then
    write_all('ZADD', returned_prefix .. to, members)
    redis.call('HINCRBY', returned_count_key, to, #entries)
  end
  local enough = #entries <= budget
  budget = budget - #entries
  return enough
end

-- Entries for a further attempt: in the line, due later, or set aside.
local function move_parked(pending)
  local further, back = {}, {}
  for _, each in ipairs(pending) do
    local entry = each[1]
    local found = try('XRANGE', from_key, entry, entry)
    local id, _, data = read_entry(found and found[1] and found[1][2])
    local in_line = redis.call('ZSCORE', returned_prefix .. from, sortable(entry))
    if id then
      local placed = append(to, found[1][2][2], data)
      if not placed then return false end
      local aside_type = string.match(redis.call('HGET', actions_key, id) or '', '^%S+ %S+ (%S+)$') or ''
      further[#further + 1] = {placed, each[4]}
      if in_line then group(back, to, placed) end
      if aside_type ~= '' then
        redis.call('ZREM', set_aside_prefix .. aside_type, aside_member(from, entry, id))
        redis.call('ZADD', set_aside_prefix .. aside_type, 0, aside_member(to, placed, id))
      end
      remember(id, placed, aside_type)
      moved = moved + 1
    end
    if in_line then
      redis.call('ZREM', returned_prefix .. from, sortable(entry))
      forget_returned(from, 1)
      left_line = left_line + 1
    end
    gone[#gone + 1] = entry
  end
  if #further > 0 then
    redis.call('XREADGROUP', 'GROUP', 'workers', 'parked', 'COUNT', #further, 'STREAMS', to_key, '>')
    for _, each in ipairs(further) do park(to, each[1], each[2]) end
    put_back(back)
  end
  return true
end

local function last_delivered()
  local groups = try('XINFO', 'GROUPS', from_key)
  for _, fields in ipairs(groups or {}) do
    for i = 1, #fields, 2 do
      if fields[i] == 'last-delivered-id' then return fields[i + 1] end
    end
  end
end

-- Entries that were never handed out.
local function move_new()
  local since = last_delivered()
  local entries = since and try('XRANGE', from_key, '(' .. since, '+', 'COUNT', budget) or {}
  local added = 0
  for _, each in ipairs(entries) do
    local id, _, data = read_entry(each[2])
    if id then
      local placed = append(to, each[2][2], data)
      if not placed then return false end
      remember(id, placed, '')
      added, moved = added + 1, moved + 1
    else
      bury(from, now_ms, 'malformed entry: not written by enqueue', 0, '', cjson.encode(each[2] or {}))
      redis.call('HINCRBY', counters_key, from_tier .. ':dead', 1)
    end
    left_line = left_line + 1
    gone[#gone + 1] = each[1]
  end
  budget = budget - #entries
  if added > 0 then add_waiting({to}, {[to] = added}) end
  return true
end

-- Actions that were never in a stream: found by looking through `scheduled`, a part per call.
local function move_delayed()
  if not redis.call('HGET', delayed_count_key, from) then return '0' end
  local found = redis.call('ZSCAN', scheduled_key, cursor, 'COUNT', most)
  for i = 1, #found[2], 2 do
    local id = found[2][i]
    if redis.call('HGET', actions_key, id) == from .. ' -' then
      redis.call('HSET', actions_key, id, to .. ' -')
      count_delayed(from, -1)
      count_delayed(to, 1)
      moved = moved + 1
    end
  end
  return found[1]
end

local FIXED_WINDOW = 'f' -- what keys of such states begin with

-- What was used of its limits counts on in the new tier: moving back and forth earns nothing.
local function add_up(strategy, a, b)
  if type(a) == 'string' then -- starts of a moving window, in order
    local starts = {}
    for _, text in ipairs({a, b}) do
      for at = 1, #text, 6 do starts[#starts + 1] = (struct.unpack('>I6', text, at)) end
    end
    table.sort(starts)
    for i, at in ipairs(starts) do starts[i] = struct.pack('>I6', at) end
    return table.concat(starts)
  end
  if a[1] < b[1] then a, b = b, a end
  if a[1] == b[1] then
    for i = 2, #a do a[i] = a[i] + b[i] end
  elseif strategy == FIXED_WINDOW then -- windows that began at different times: all of it in the later one
    a[2] = a[2] + b[2]
  elseif #a == 3 and a[1] == b[1] + 1 then -- the window before, of a sliding counter
    a[2] = a[2] + b[3]
  end
  return a
end

local function carry_usage()
  local packed = redis.call('HMGET', usage_key, from, to)
  if not packed[1] then return end
  local old, new = cmsgpack.unpack(packed[1]), packed[2] and cmsgpack.unpack(packed[2]) or {}
  for key, state in pairs(old) do
    if key ~= '~' and new[key] then state = add_up(string.sub(key, 1, 1), new[key], state) end
    if key ~= '~' or not new[key] then new[key] = state end
  end
  local due = redis.call('ZSCORE', usage_due_key, from)
  redis.call('HSET', usage_key, to, cmsgpack.pack(new))
  if due then redis.call('ZADD', usage_due_key, 'GT', due, to) end
  redis.call('HDEL', usage_key, from)
  redis.call('ZREM', usage_due_key, from)
end

local pending = try('XPENDING', from_key, 'workers', '-', '+', most, 'parked') or {}
local room = #pending == 0 or deliver_what_waits_there()
local fits = true
if room then fits = move_parked(pending) end
budget = budget - #pending
local next_cursor = '0'
if fits and room and budget > 0 then
  fits = move_new()
  if budget > 0 then next_cursor = move_delayed() end
end

if #places > 0 then write_all('HSET', actions_key, places) end
if #gone > 0 then
  try('XACK', from_key, 'workers', unpack(gone))
  try('XDEL', from_key, unpack(gone))
  if try('XLEN', from_key) == 0 then redis.call('DEL', from_key) end
end
if left_line > 0 then
  if left_line > 1 then redis.call('HINCRBY', waiting_key, from, 1 - left_line) end
  remove_waiting(from)
end
if not fits then return {'key', to_key} end
carry_usage()

-- Whoever was registered for the tier that was emptied, or for any other when all were, is on the new one.
local function register_for_new_tier()
  local text = redis.call('HGET', registry_key, tenant) or ''
  local own, drain = string.match(text, '^(%S*)(.*)$')
  if known.source ~= '*' and own ~= known.source then return end
  redis.call('HSET', registry_key, tenant, to_tier .. drain)
end

local done = room and budget > 0 and next_cursor == '0' and not redis.call('HGET', delayed_count_key, from)
known.moved = known.moved + moved
if done and stage == 'last' then
  register_for_new_tier()
  local said = cjson.decode(known.said)
  note_operation(now_ms, said.by, said.why, 'move ' .. tenant .. ' ' .. to_tier)
  known.arrived = '1'
end
if known.arrived == '1' and redis.call('HEXISTS', overrides_key, tenant) == 0 then -- no pause is left to be ended
  redis.call('HDEL', moving_key, tenant)
elseif known.arrived == '1' or moved > 0 then
  write_record(known)
end
if moved > 0 then wake_one() end
return {known.moved, next_cursor, done and 0 or 1}
