-- cancel: an action that waits is taken out and answered; the owner of a running one is told.
--
-- @keys cancel_asked actions attempts scheduled delayed returned ready workers owned cancelling mailbox counters
-- @argv now_ms:int duplicate_window_ms:int response_ttl_ms:str items:rest
--       items: (id, response, owner)*; the response is stored if somebody asked for one. Owner: who owned it
--       lately, '' when nobody knows, '-' when no worker was found: it is looked for here
-- @include aside
-- @include delayed
-- @include owned
-- @include settle
-- @include wake
-- @include events
-- REPLY: per item 'cancelled', 'parent' (the same; it had sent others: cancel them, too), 'running', 'unknown', or 'whose': it runs, call again with its owner

local SIZE = 3

-- What its group says: 'waits' or 'runs'; nil where somebody else deleted what would tell.
local function standing_of(stream, entry)
  local key = domain_tag .. stream
  local delivered = try('XPENDING', key, 'workers', entry, entry, 1)
  if delivered and delivered[1] then return delivered[1][2] == 'running' and 'runs' or 'waits' end
  local found = try('XRANGE', key, entry, entry)
  return found and found[1] and 'waits'
end

local searched = false

-- Its owner, '' when somebody has to be asked first, nil for none. At most one search per call.
local function owner_of(id, owner)
  if owner ~= '' and owner ~= '-' and redis.call('HEXISTS', owned_prefix .. owner, id) == 1 then return owner end
  if owner ~= '-' or searched then return '' end
  searched = true
  for _, worker in ipairs(redis.call('ZRANGE', workers_key, 0, -1)) do
    if redis.call('HEXISTS', owned_prefix .. worker, id) == 1 then return worker end
  end
end

local event_lines, counts, freed = {}, {}, 0

-- Take one action out of wherever it waits; returns its header. One that runs and has no owner (somebody else removed
-- the record of it) is in no line, and takes a slot of its tenant's.
local function take_out(id, stream, entry, aside_type, runs)
  if entry == '-' then
    local head = read_delayed(id)
    redis.call('HDEL', delayed_key, id)
    redis.call('ZREM', scheduled_key, id)
    count_delayed(stream, -1)
    return head
  end
  local key = domain_tag .. stream
  local found = try('XRANGE', key, entry, entry)
  found = found and found[1]
  try('XACK', key, 'workers', entry)
  try('XDEL', key, entry)
  redis.call('HDEL', attempts_key, id)
  if runs then
    freed = freed + end_concurrency_holds({[stream] = true})
  elseif aside_type ~= '' then
    redis.call('ZREM', set_aside_prefix .. aside_type, aside_member(stream, entry, id))
  elseif redis.call('ZREM', scheduled_key, id) == 0 then
    if redis.call('ZREM', returned_prefix .. stream, sortable(entry)) == 1 then forget_returned(stream, 1) end
    remove_waiting(stream)
    freed = freed + look_at_heads_again({stream})
  end
  if try('XLEN', key) == 0 then redis.call('DEL', key) end
  return found and found[2][2]
end

local function cancel(id, stream, entry, aside_type, runs, response)
  local head = take_out(id, stream, entry, aside_type, runs)
  local action_type, enqueued_ms, reply_to, unique_key
  if head then action_type, enqueued_ms, reply_to, unique_key = rest_of_head(head) end
  settle(id, 'cancelled', reply_to or '-', response, response_ttl_ms, unique_key or '-')
  event_lines[#event_lines + 1] = table.concat({'outcome', now_ms, id, action_type or '-', stream, 'cancelled',
    math.max(now_ms - (enqueued_ms or now_ms), 0), 0, 0}, ' ')
  local _, tier = split_stream(stream)
  counts[tier] = (counts[tier] or 0) + 1
end

local reply, out = {}, {}
local has_parents = redis.call('EXISTS', parents_key) == 1
for i = items_at, #ARGV, SIZE do
  local id = ARGV[i]
  local place = redis.call('HGET', actions_key, id) or ''
  local stream, entry, aside_type = string.match(place, '^(%S+) (%S+) ?(%S*)$')
  local in_stream = stream and entry ~= '-' and not out[id]
  local standing = in_stream and standing_of(stream, entry)
  local owner = in_stream and standing ~= 'waits' and owner_of(id, ARGV[i + 2])
  if out[id] then
    reply[#reply + 1] = 'cancelled' -- the same id twice in this call
  elseif not stream then
    reply[#reply + 1] = 'unknown'
  elseif owner == '' then
    reply[#reply + 1] = 'whose'
  elseif owner then
    redis.call('SREM', cancelling_prefix .. owner, id) -- allowed when the server is out of memory, then all is
    redis.call('SADD', cancelling_prefix .. owner, id)
    redis.call('SADD', cancel_asked_key, id) -- should this owner not get to it, the next one knows
    redis.call('RPUSH', mailbox_prefix .. owner, 'cancel ' .. id)
    reply[#reply + 1] = 'running'
  else
    cancel(id, stream, entry, aside_type, standing == 'runs', ARGV[i + 1])
    out[id] = true
    reply[#reply + 1] = has_parents and redis.call('SISMEMBER', parents_key, id) == 1 and 'parent' or 'cancelled'
  end
end
if freed > 0 then wake_one() end
write_settled(now_ms, duplicate_window_ms)
for tier, count in pairs(counts) do redis.call('HINCRBY', counters_key, tier .. ':cancelled', count) end
tell(event_lines)
return reply
