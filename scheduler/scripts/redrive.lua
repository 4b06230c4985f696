-- redrive: dead letters go back in line under their own ids, their attempts counted anew, in the tier that the
-- registry says today, else in their own. A letter goes in
-- the same step in which its action is in line again, so nothing is lost or doubled wherever a caller stops.
--
-- @keys actions unique_holders scheduled delayed response
-- @argv now_ms:int by:str why:str did:str tenant:str first_due_ms:int every_us:int letters:rest
--       by, why, did: kept among the operators' commands when a letter goes; did '': not
--       the n-th letter that goes is due at first_due_ms + (n - 1) * every_us / 1000
-- @include letters
-- @include tier_of
-- @include delayed
-- @include waiting
-- @include wake
-- @include events
-- @include operations
-- REPLY: per letter 'redriven', 'gone' (somebody else took it), 'broken' (there is no action in it),
--        'alive' (an action of that id is alive), 'unique <id>' (its unique key is held), 'drain' (the tenant
--        takes no new work), 'key' (no stream stands where its stream should be)

local key = dead_prefix .. tenant
local has_registry = read_registry({tenant})

local streams, added, counts, event_lines, placed = {}, {}, {}, {}, 0

-- A deadline that has passed by then is dropped: whoever asks for it to run again does not mean "expire".
local function new_head(id, deadline_ms, action_type, due_ms, reply_to, unique_key)
  if tonumber(deadline_ms) <= due_ms then deadline_ms = '0' end
  return table.concat({'v1', id, deadline_ms, action_type, string.format('%d', due_ms), reply_to, unique_key}, ' ')
end

local function place(stream, id, head, data, due_ms)
  if due_ms > now_ms then
    redis.call('HSET', delayed_key, id, cmsgpack.pack({head, data}))
    redis.call('ZADD', scheduled_key, due_ms, id)
    count_delayed(stream, 1)
    return '-'
  end
  local entry = append(stream, head, data)
  if entry then
    if not added[stream] then
      added[stream] = 0
      streams[#streams + 1] = stream
    end
    added[stream] = added[stream] + 1
  end
  return entry
end

local function redrive(entry)
  local found = redis.call('XRANGE', key, entry, entry)[1]
  if not found then return 'gone' end
  local letter = read_letter(found)
  local id, deadline_ms, action_type, _, reply_to, unique_key =
    string.match(letter.head or '', '^v1 (%S+) (%d+) (%S+) (%d+) (%S+) (%S+)$')
  if not id then return 'broken' end
  if redis.call('HEXISTS', actions_key, id) == 1 then return 'alive' end
  if unique_key ~= '-' then
    local holder = redis.call('HGET', unique_holders_key, unique_key)
    if holder and redis.call('HEXISTS', actions_key, holder) == 1 then return 'unique ' .. holder end
  end
  local tier = letter.tier
  if has_registry then tier = tier_of(tenant, '~' .. tier) end
  if not tier then return 'drain' end
  local stream = tenant .. ':' .. tier
  local due_ms = math.max(now_ms, first_due_ms + math.floor(placed * every_us / 1000))
  -- The first write adds: a server out of memory refuses it, and the letter stays.
  local at = place(stream, id, new_head(id, deadline_ms, action_type, due_ms, reply_to, unique_key), letter.data, due_ms)
  if not at then return 'key' end
  redis.call('XDEL', key, entry)
  redis.call('HSET', actions_key, id, stream .. ' ' .. at)
  if unique_key ~= '-' then redis.call('HSET', unique_holders_key, unique_key, id) end
  redis.call('DEL', response_prefix .. id) -- its answer is the one that comes now
  placed = placed + 1
  counts[tier] = (counts[tier] or 0) + 1
  event_lines[#event_lines + 1] = table.concat({'redriven', now_ms, id, action_type, stream}, ' ')
  return 'redriven'
end

local reply = {}
for i = letters_at, #ARGV do reply[#reply + 1] = redrive(ARGV[i]) end
if placed == 0 then return reply end

add_waiting(streams, added)
forget_if_empty(tenant)
for tier, count in pairs(counts) do redis.call('HINCRBY', counters_key, tier .. ':redriven', count) end
if did ~= '' then note_operation(now_ms, by, why, did) end
tell(event_lines)
wake_one()
return reply
