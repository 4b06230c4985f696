-- @keys usage waiting overrides delayed_count
-- @include tier_of
-- @include zones
-- @include reset
-- @include running
-- @include stream

-- Is there room for one more action of a tenant? Asked only where the tier has such a rule. Each function
-- returns nothing, or why not, with figures. The rules in plain Python: scheduler/oracle_admission.py.

local backlogs, rooms = {}, {}

-- What waits is what the stream has and nobody runs, and what is not in its stream yet: nothing is counted
-- apart, so nothing can drift.
local function backlog_of(stream, counts_bytes)
  local known = backlogs[stream]
  if not known then
    local key = domain_tag .. stream
    local inside = math.max((try('XLEN', key) or 0) - running_of(key), 0)
    known = {inside + tonumber(redis.call('HGET', delayed_count_key, stream) or 0),
      counts_bytes and try('MEMORY', 'USAGE', key) or 0}
    backlogs[stream] = known
  end
  return known
end

local function over_backlog(stream, tier, size)
  local most = settings.backlog and settings.backlog[tier]
  if not most then return nil end
  local known = backlog_of(stream, most[2] > 0)
  if most[1] > 0 and known[1] >= most[1] then return '!backlog actions ' .. known[1] .. ' ' .. most[1] end
  if most[2] > 0 and known[2] + size > most[2] then return '!backlog bytes ' .. known[2] .. ' ' .. most[2] end
end

local function rules_of(stream, of_tier)
  local own = redis.call('HGET', overrides_key, (split_stream(stream)))
  own = own and cjson.decode(own) or {}
  local limits = own.limits or of_tier
  return own.time_zone and in_zone(limits, own.time_zone) or limits
end

-- Of each limit how many may still come before it is used up, when it gives more, and which one it is; and how many
-- have come in this call.
local function room_in(stream, limits, now, periods)
  local packed = redis.call('HGET', usage_key, stream)
  local states, room = packed and cmsgpack.unpack(packed) or {}, {taken = 0}
  local waits = tonumber(redis.call('HGET', waiting_key, stream) or 0)
  for _, limit in ipairs(limits) do
    local period = periods[limit[5]]
    local left, more_at = standing(limit, states[limit[6]], now, period)
    if more_at == 0 then more_at = period and period[2] or now + limit[4] end
    room[#room + 1] = {left - waits, more_at, limit[1]}
  end
  return room
end

-- Of the limits that are used up the one that gives more last: before, nothing more can start.
local function last_to_open(room)
  local last
  for _, limit in ipairs(room) do
    if limit[1] <= room.taken and (not last or limit[2] > last[2]) then last = limit end
  end
  return last
end

-- The reply that asks for a calendar period that the limits of this tenant need, and nobody has written.
local function ask_for_periods(limits, now, periods)
  for _, limit in ipairs(limits) do
    if limit[5] ~= '' and not know_period(limit[5], now, periods) then return {'zones', limit[5]} end
  end
end

-- A tier that refuses what its limits do not let start when it is due (0 or earlier than now: at once).
local function over_limit(stream, tier, due, now, periods)
  local of_tier = settings.refuse and settings.refuse[tier]
  if not of_tier then return nil end
  if not rooms[stream] then rooms[stream] = room_in(stream, rules_of(stream, of_tier), now, periods) end
  local last = last_to_open(rooms[stream])
  if last and due < last[2] then return '!limit ' .. math.max(last[2] - now, 1) .. ' ' .. last[3] end
end

local function take_room(stream, size, is_later)
  local known = backlogs[stream]
  if known then known[1], known[2] = known[1] + 1, known[2] + size end
  local room = rooms[stream]
  if room and not is_later then room.taken = room.taken + 1 end
end
