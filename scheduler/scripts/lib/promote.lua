-- @keys scheduled delayed actions held counters
-- @include returned
-- @include delayed
-- @include bury

-- Into its stream; its entry id, or nil when that is impossible: then it is a dead letter.
local function place_delayed(id, stream, now)
  local head, data = read_delayed(id)
  if not head then return bury_lost(id, stream, now, 0, 'payload') end
  local entry = append(stream, head, data)
  if entry then return entry end
  local _, tier = split_stream(stream)
  bury(stream, now, 'the key ' .. domain_tag .. stream .. ' is not a stream', 0, head, data)
  redis.call('HDEL', actions_key, id)
  redis.call('HINCRBY', counters_key, tier .. ':dead', 1)
end

-- Move what is due into its stream (first attempts) or to the head of its tenant's line (further ones).
-- Returns how many were moved.
local function promote_due(now, most)
  local due = redis.call('ZRANGEBYSCORE', scheduled_key, '-inf', now, 'LIMIT', 0, most)
  if #due == 0 then return 0 end
  local places = redis.call('HMGET', actions_key, unpack(due))
  write_all('ZREM', scheduled_key, due) -- first of the writes: a server out of memory allows it, then the others
  local streams, added, placed, unpacked, further = {}, {}, {}, {}, {}
  for i, id in ipairs(due) do
    local stream, entry = string.match(places[i] or '', '^(%S+) (%S+)$')
    if entry == '-' then
      unpacked[#unpacked + 1] = id
      count_delayed(stream, -1)
      local placed_as = place_delayed(id, stream, now)
      if placed_as then
        placed[#placed + 1] = id
        placed[#placed + 1] = stream .. ' ' .. placed_as
        if not added[stream] then
          added[stream] = 0
          streams[#streams + 1] = stream
        end
        added[stream] = added[stream] + 1
      end
    elseif stream then
      group(further, stream, entry)
    end
  end
  if #placed > 0 then write_all('HSET', actions_key, placed) end
  if #unpacked > 0 then write_all('HDEL', delayed_key, unpacked) end
  add_waiting(streams, added)
  put_back(further)
  return #due
end

-- When the next held or scheduled thing is due (ms), 0 for never.
local function next_due()
  local scheduled = redis.call('ZRANGE', scheduled_key, 0, 0, 'WITHSCORES')[2]
  local held = redis.call('ZRANGE', held_key, 0, 0, 'WITHSCORES')[2]
  local soonest = math.min(tonumber(scheduled or math.huge), tonumber(held or math.huge))
  return soonest == math.huge and 0 or math.ceil(soonest)
end
