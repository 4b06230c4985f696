-- @keys actions done unique_holders scheduled delayed counters
-- @include tier_of
-- @include too_late
-- @include delayed
-- @include waiting
-- @include wake
-- @defer room over_backlog over_limit take_room ask_for_periods rules_of

-- `enqueue` of any number of actions, whatever is asked of them; its header tells the arguments and the reply.

local SIZE = 4

-- Any actions, with all that may be asked of them; what becomes of each.
local function enqueue_any()
  local now_ms = tonumber(string.match(now, '^%d+'))
  local ids, tenants, claims, place_of, asked = {}, {}, {}, {}, {}
  for i = actions_at, #ARGV, SIZE do
    ids[#ids + 1] = ARGV[i + 1]
    local claim = ARGV[i]
    if not place_of[claim] then
      local plain, line_ends = claim, string.find(claim, '\n', 1, true)
      if line_ends then
        plain = string.sub(claim, 1, line_ends - 1)
        asked[claim] = {string.match(claim, '^(%d*)\n(.*)$', line_ends + 1)}
      end
      if not place_of[plain] then
        place_of[plain] = {string.match(plain, '^([^:]*):(.*)$')}
        tenants[#tenants + 1] = place_of[plain][1]
        claims[#claims + 1] = plain
      end
      place_of[claim] = place_of[plain]
    end
  end
  if not read_registry(tenants) then return 'nopolicy' end

  -- What few tiers have, a bounded backlog or limits that refuse, is looked at only where one has it.
  local over_backlog, over_limit, take_room, ask_for_periods, rules_of
  local periods = {}
  if settings.backlog or settings.refuse then
    over_backlog, over_limit, take_room, ask_for_periods, rules_of = room()
    for name, from, till in string.gmatch(now, '([^|]+)|(%d+)|(%d+)') do
      periods[name] = {tonumber(from), tonumber(till)}
    end
    -- Every part of a list asks for them, or none: the next would overtake one that did.
    for _, name in ipairs(settings.periods or {}) do
      if not periods[name] then return {'periods', unpack(settings.periods)} end
    end
  end
  for _, claim in ipairs(claims) do
    local place = place_of[claim]
    local tier, refused = tier_of(place[1], place[2])
    local stream = tier and place[1] .. ':' .. tier
    place[1], place[2], place[3] = stream, refused or (stream == claim and 1 or '+' .. tier), tier
    local refusing = stream and settings.refuse and settings.refuse[tier]
    local ask = refusing and ask_for_periods(rules_of(stream, refusing), now_ms, periods)
    if ask then return ask end
  end

  local alive = redis.call('HMGET', actions_key, unpack(ids))
  local ended = redis.call('HMGET', done_prefix .. period, unpack(ids))
  local ended_before = redis.call('HMGET', done_prefix .. period_before, unpack(ids))

  local reply, in_call, places, streams, added, counts = {}, {}, {}, {}, {}, {}

  local function into_stream(stream, head, data)
    local entry = append(stream, head, data)
    if not entry then return nil end
    if not added[stream] then
      added[stream] = 0
      streams[#streams + 1] = stream
    end
    added[stream] = added[stream] + 1
    return stream .. ' ' .. entry
  end

  local function put_off(stream, id, head, data, due_ms)
    redis.call('HSET', delayed_key, id, cmsgpack.pack({head, data}))
    redis.call('ZADD', scheduled_key, due_ms, id)
    count_delayed(stream, 1)
    return stream .. ' -'
  end

  local function in_the_way(id, at)
    return '=' .. id .. ' ' .. string.match(at, ':(%S+)')
  end

  local function admit(n, place, id, head, data, asks)
    local due, unique_key = tonumber(asks and asks[1]) or 0, asks and asks[2] or ''
    if alive[n] or in_call[id] then return in_the_way(id, alive[n] or in_call[id]) end
    if ended[n] or ended_before[n] then return 0 end
    if unique_key ~= '' then
      local holder = redis.call('HGET', unique_holders_key, unique_key)
      -- A holder that is not alive lost its entry to somebody else's XDEL: it blocks nobody.
      local at = holder and (in_call[holder] or redis.call('HGET', actions_key, holder))
      if at then return in_the_way(holder, at) end
    end
    local stream, said, tier = place[1], place[2], place[3]
    if not stream then return said end
    local size = #head + #data
    local refused = over_backlog and over_backlog(stream, tier, size)
      or string.sub(head, #id + 4, #id + 6) ~= ' 0 ' and too_late(stream, head, now_ms) -- it has a deadline
      or over_limit and over_limit(stream, tier, due, now_ms, periods)
    if refused then return refused end
    local later = due > now_ms
    local placed = later and put_off(stream, id, head, data, due) or into_stream(stream, head, data)
    if not placed then return -1 end
    if unique_key ~= '' then redis.call('HSET', unique_holders_key, unique_key, id) end
    in_call[id] = placed
    if take_room then take_room(stream, size, later) end
    places[#places + 1] = id
    places[#places + 1] = placed
    counts[tier] = (counts[tier] or 0) + 1
    return said
  end

  for n = 1, #ids do
    local at = actions_at + (n - 1) * SIZE
    reply[n] = admit(n, place_of[ARGV[at]], ids[n], ARGV[at + 2], ARGV[at + 3], asked[ARGV[at]])
  end
  if #places == 0 then return reply end

  write_all('HSET', actions_key, places)
  for tier, count in pairs(counts) do redis.call('HINCRBY', counters_key, tier .. ':enqueued', count) end
  add_waiting(streams, added)
  wake_one() -- for a delayed action too: a sleeper may have to wake earlier than it planned
  return reply
end

return enqueue_any()
