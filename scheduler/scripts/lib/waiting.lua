-- @keys waiting returned ready held held_why tags fairness
-- @include entering
-- @include stream
-- @include variadic

-- A tenant is in the ready index or in the held index exactly while `waiting` counts something for it.

-- stream -> what waits there, for each of `streams`.
local function waiting_of(streams)
  local counts, many = {}, #streams
  if many > 15 and redis.call('HLEN', waiting_key) <= 2 * many then -- a small hash is searched anew for each field
    local all = redis.call('HGETALL', waiting_key)
    for i = 1, #all, 2 do counts[all[i]] = all[i + 1] end
    return counts
  end
  for i, count in ipairs(redis.call('HMGET', waiting_key, unpack(streams))) do counts[streams[i]] = count end
  return counts
end

-- Count `added[stream]` more actions as waiting, for each of `streams`.
local function add_waiting(streams, added)
  local first = streams[1]
  if not first then return end
  if not streams[2] then
    if redis.call('HINCRBY', waiting_key, first, added[first]) == added[first] then enter_streams(streams) end
    return
  end
  local counts = waiting_of(streams)
  local updates, entering = {}, {}
  for _, stream in ipairs(streams) do
    local count = tonumber(counts[stream] or 0)
    if count == 0 then entering[#entering + 1] = stream end
    updates[#updates + 1] = stream
    updates[#updates + 1] = count + added[stream]
  end
  if #entering > 5 then -- a hash of small fields is searched from its first; one that ever had a large one, by name
    updates[#updates + 1] = ''
    updates[#updates + 1] = string.rep(' ', 65)
  end
  write_all('HSET', waiting_key, updates)
  if #entering > 5 then redis.call('HDEL', waiting_key, '') end
  if #entering > 0 then enter_streams(entering) end
end

-- Nobody of the tier is startable: its busy period is over, virtual time catches up with every tag.
local function past_every_tag(tier, virtual_time)
  local top = redis.call('ZREVRANGE', tags_prefix .. tier, 0, 0, 'WITHSCORES')
  if not top[2] then return virtual_time end
  redis.call('UNLINK', tags_prefix .. tier)
  return math.max(virtual_time, tonumber(top[2]))
end

-- Take a tenant out of the ready index; it keeps its tag, else leaving and coming back would earn something.
local function leave_ready(tier, tenant)
  local tag = tonumber(redis.call('ZSCORE', ready_prefix .. tier, tenant) or nil)
  if not tag then return end
  local virtual_time = tonumber(redis.call('HGET', fairness_key, 'vt:' .. tier) or 0)
  redis.call('ZREM', ready_prefix .. tier, tenant)
  if tag > virtual_time then redis.call('ZADD', tags_prefix .. tier, tag, tenant) end
  if redis.call('EXISTS', ready_prefix .. tier) == 0 then
    redis.call('HSET', fairness_key, 'vt:' .. tier, past_every_tag(tier, virtual_time))
  end
end

-- How many wait in a line of which all that were counted are gone: what somebody else added to a stream, and
-- looks like an action, was counted when it was read, and stood for one of the tenant's own.
local function still_in_line(stream)
  local key = domain_tag .. stream
  local there, taken = try('XLEN', key), try('XPENDING', key, 'workers')
  local new = there and taken and math.max(there - taken[1], 0) or 0
  return new + redis.call('ZCARD', returned_prefix .. stream)
end

-- One action of `stream` waits no more; the caller has taken it out.
local function remove_waiting(stream)
  local count = redis.call('HINCRBY', waiting_key, stream, -1)
  if count > 0 then return end
  local left = still_in_line(stream)
  if left > 0 and count == 0 then
    redis.call('HSET', waiting_key, stream, left)
    return
  end
  redis.call('HDEL', waiting_key, stream)
  if left > 0 then return add_waiting({stream}, {[stream] = left}) end
  local tenant, tier = split_stream(stream)
  leave_ready(tier, tenant)
  redis.call('ZREM', held_key, stream)
  redis.call('HDEL', held_why_key, stream)
end

-- End the holds of these 'tenant:tier' members and make them startable.
local function end_holds(members)
  if #members == 0 then return end
  write_all('ZREM', held_key, members)
  write_all('HDEL', held_why_key, members)
  enter_streams(members)
end

-- Holds whose limit has freed, a bounded number; returns how many.
local function end_due_holds(now, most)
  local due = redis.call('ZRANGEBYSCORE', held_key, '-inf', now, 'LIMIT', 0, most)
  end_holds(due)
  return #due
end

-- A named limit held these tenants for the action that was next in their line; another one is next now.
-- Returns how many holds ended.
local function look_at_heads_again(streams)
  if #streams == 0 or redis.call('EXISTS', held_why_key) == 0 then return 0 end
  local ending = {}
  for i, why in ipairs(redis.call('HMGET', held_why_key, unpack(streams))) do
    if why and string.sub(why, 1, 6) == 'limit ' then ending[#ending + 1] = streams[i] end
  end
  end_holds(ending)
  return #ending
end
