-- @keys set_aside actions pauses
-- @include returned

-- Actions of a paused type leave their line, parked, when it is their turn; the rest of the line goes on.

local function aside_member(stream, entry, id)
  return sortable(entry) .. ' ' .. stream .. ' ' .. id
end

local function set_aside(stream, entry, id, action_type, deliveries)
  if not park(stream, entry, deliveries) then return false end
  redis.call('ZADD', set_aside_prefix .. action_type, 0, aside_member(stream, entry, id))
  redis.call('HSET', actions_key, id, stream .. ' ' .. entry .. ' ' .. action_type)
  return true
end

-- The oldest of what was set aside, a bounded number, to the head of their lines; returns how many, and
-- whether some are left.
local function give_back_aside(action_type, most)
  local key = set_aside_prefix .. action_type
  local popped, by_stream, places = redis.call('ZPOPMIN', key, most), {}, {}
  for i = 1, #popped, 2 do
    local entry, stream, id = string.match(popped[i], '^(%S+) (%S+) (%S+)$')
    entry = unsortable(entry)
    group(by_stream, stream, entry)
    places[#places + 1] = id
    places[#places + 1] = stream .. ' ' .. entry
  end
  if #places > 0 then
    write_all('HSET', actions_key, places)
    put_back(by_stream)
  end
  local left = redis.call('EXISTS', key) == 1
  if not left then redis.call('HDEL', pauses_key, 'resuming:' .. action_type) end
  return #popped / 2, left
end
