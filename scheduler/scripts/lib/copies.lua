-- @keys owned actions workers
-- @include claim_state
-- @include stream
-- @include owned

-- Somebody else has copied entries of ours, header and all, so that one worker got an id twice, and its record of the
-- one was overwritten by that of the other. One is kept, if it can be the one that `actions` names; the others leave
-- their streams, else they would stay there, and count as running, for good.

local LOOKED_AT = 1000 -- so many entries are searched for one whose record was overwritten

local function place_of(record)
  return string.match(record, '^%S+ (%S+ %S+)')
end

-- What this claim took, by id: numbers of its items; and each id's place as `actions` has it.
local function taken_now()
  local ids, items, places = {}, {}, {}
  for n = 1, #owned / 2 do
    local id = owned[2 * n - 1]
    if not items[id] then
      items[id] = {}
      ids[#ids + 1] = id
    end
    table.insert(items[id], n)
  end
  for i, place in ipairs(redis.call('HMGET', actions_key, unpack(ids))) do
    places[ids[i]] = place and string.match(place, '^%S+ %S+')
  end
  return ids, items, places
end

local function has_other_owner(id, place, worker_id)
  for _, worker in ipairs(redis.call('ZRANGE', workers_key, 0, -1)) do
    local record = worker ~= worker_id and redis.call('HGET', owned_prefix .. worker, id)
    if record and place_of(record) == place then return true end
  end
  return false
end

-- Places of what counts as running and has no record any more, for those of these ids: {id = {place, ...}}.
local function without_record(ids, items, places, worker_id)
  local found, searched, known, left = {}, {}, {}, LOOKED_AT
  for n = 1, #owned / 2 do known[place_of(owned[2 * n])] = true end
  local function search(stream)
    if not stream or searched[stream] or left <= 0 then return end
    searched[stream] = true
    local key = domain_tag .. stream
    for _, each in ipairs(try('XPENDING', key, 'workers', '-', '+', left, 'running') or {}) do
      left = left - 1
      local place = stream .. ' ' .. each[1]
      local entry = not known[place] and try('XRANGE', key, each[1], each[1])
      local id = entry and entry[1] and read_entry(entry[1][2])
      if id and items[id] and not has_other_owner(id, place, worker_id) then
        found[id] = found[id] or {}
        table.insert(found[id], place)
      end
    end
  end
  for _, id in ipairs(ids) do
    search(places[id] and string.match(places[id], '^%S+'))
    for _, n in ipairs(items[id]) do search(string.match(place_of(owned[2 * n]), '^%S+')) end
  end
  return found
end

local function take_out(places)
  local streams = {}
  for _, place in ipairs(places) do
    local stream, entry = string.match(place, '^(%S+) (%S+)$')
    local key = domain_tag .. stream
    streams[stream] = true
    try('XACK', key, 'workers', entry)
    try('XDEL', key, entry)
    if try('XLEN', key) == 0 then redis.call('DEL', key) end
  end
  return end_concurrency_holds(streams)
end

-- What the worker is told, without the items that are `dropped`.
local function tell_without(dropped)
  local told, n, at = {unpack(reply, 1, 5)}, 0, 6
  while reply[at] do
    local run, count = string.match(reply[at], '^(.*) (%d+)$')
    local run_at, last = #told + 1, at + 2 * tonumber(count)
    told[run_at] = ''
    for head_at = at + 1, last, 2 do
      n = n + 1
      if not dropped[n] then told[#told + 1], told[#told + 2] = reply[head_at], reply[head_at + 1] end
    end
    local kept = (#told - run_at) / 2
    told[run_at] = kept > 0 and run .. ' ' .. kept or nil
    at = last + 1
  end
  reply = told
end

-- `new`: of how many ids this worker had no record before. Returns how many lines have a free slot again.
local function drop_copies(worker_id, new)
  local ids, items, places = taken_now()
  local before = new < #ids and without_record(ids, items, places, worker_id) or {}
  local out, dropped, records = {}, {}, {}
  for _, id in ipairs(ids) do
    local first = items[id][1]
    local record = owned[2 * first]
    local kept = place_of(record)
    for _, n in ipairs(items[id]) do
      if place_of(owned[2 * n]) == places[id] then first, record, kept = n, owned[2 * n], places[id] end
    end
    for _, place in ipairs(before[id] or {}) do
      if place == places[id] then kept = place end
    end
    records[#records + 1] = id
    records[#records + 1] = string.gsub(record, '^(%S+) %S+ %S+', function(token) return token .. ' ' .. kept end)
    for _, n in ipairs(items[id]) do
      local place = place_of(owned[2 * n])
      if place ~= kept then out[#out + 1] = place end
      if n ~= first then dropped[n] = true end
    end
    for _, place in ipairs(before[id] or {}) do
      if place ~= kept then out[#out + 1] = place end
    end
  end
  tell_without(dropped)
  owned = records
  write_all('HSET', owned_prefix .. worker_id, owned)
  return take_out(out)
end
