-- finish: ownership checked, entry acknowledged and deleted, response stored and announced, next state.
-- A worker that is not the owner any more is refused and writes nothing. The first write is an XACK, so that the script still runs
-- when the server is out of memory.
--
-- @keys owned cancelling scheduled returned callback counters
-- @argv now_ms:int worker_id:str duplicate_window_ms:int response_ttl_ms:int callback_ttl_ms:int items:rest
--       items: (id, token, outcome, due_ms, reply_to, unique_key, response, event, extra)*
--       extra: '' or JSON {reason, callback_queue, callback}
-- @include owned
-- @include returned
-- @include settle
-- @include bury
-- @include events
-- @include wake
-- REPLY: per item 1 (accepted) or 0 (not the owner any more)

local SIZE = 9
local ids = {}
for i = items_at, #ARGV, SIZE do ids[#ids + 1] = ARGV[i] end
local records = redis.call('HMGET', owned_prefix .. worker_id, unpack(ids))

local reply, closed, streams = {}, {}, {}
local acknowledged, at_once = {}, {}

-- First look at everything, then write.
local accepted = {}
for n, id in ipairs(ids) do
  local at = items_at + (n - 1) * SIZE
  reply[n] = 0
  if records[n] and not closed[id] then
    local token, stream, entry, attempt = parse_owned(records[n])
    if token == ARGV[at + 1] then
      local outcome = ARGV[at + 2]
      local again = outcome == 'retry' or outcome == 'snoozed'
      reply[n], closed[id], streams[stream] = 1, true, true
      if not again then group(acknowledged, stream, entry) end
      local item = {id = id, at = at, stream = stream, entry = entry, attempt = tonumber(attempt),
        outcome = outcome, again = again}
      if outcome == 'dead' then
        local found = try('XRANGE', domain_tag .. stream, entry, entry)
        item.fields = found and found[1] and found[1][2] or {}
      end
      accepted[#accepted + 1] = item
    end
  end
end
if #accepted == 0 then return reply end

for stream, entries in pairs(acknowledged) do
  local key = domain_tag .. stream
  try('XACK', key, 'workers', unpack(entries))
  try('XDEL', key, unpack(entries))
end

-- Another attempt: the same entry, parked. A snooze spends no attempt, the delivery count goes back by one.
local function again(item)
  local deliveries = item.outcome == 'snoozed' and item.attempt - 1 or item.attempt
  if not park(item.stream, item.entry, deliveries) then
    bury_lost(item.id, item.stream, now_ms, item.attempt)
    settle(item.id, 'dead', ARGV[item.at + 4], ARGV[item.at + 6], response_ttl_ms, ARGV[item.at + 5])
    return
  end
  local due_ms = tonumber(ARGV[item.at + 3])
  if due_ms > now_ms then
    redis.call('ZADD', scheduled_key, due_ms, item.id)
  else
    group(at_once, item.stream, item.entry)
  end
end

local function close(item)
  local extra = ARGV[item.at + 8]
  extra = extra ~= '' and cjson.decode(extra) or {}
  if item.outcome == 'dead' then
    bury(item.stream, now_ms, extra.reason or '', item.attempt, item.fields[2], item.fields[4])
  end
  settle(item.id, item.outcome, ARGV[item.at + 4], ARGV[item.at + 6], response_ttl_ms, ARGV[item.at + 5])
  local queue = extra.callback_queue
  -- Never push to a name taken on trust: it has this domain's callback prefix or nothing is pushed.
  if queue and string.sub(queue, 1, #callback_prefix) == callback_prefix then
    redis.call('LPUSH', queue, extra.callback)
    redis.call('PEXPIRE', queue, callback_ttl_ms)
  end
end

local finished, event_lines, counts = {}, {}, {}
for _, item in ipairs(accepted) do
  finished[#finished + 1] = item.id
  event_lines[#event_lines + 1] = ARGV[item.at + 7]
  local of_stream = counts[item.stream]
  if not of_stream then
    of_stream = {}
    counts[item.stream] = of_stream
  end
  of_stream[item.outcome] = (of_stream[item.outcome] or 0) + 1
  if item.again then again(item) else close(item) end
end

write_all('HDEL', owned_prefix .. worker_id, finished)
write_all('SREM', cancelling_prefix .. worker_id, finished)
write_settled(now_ms, duplicate_window_ms)
if next(at_once) then put_back(at_once) end
-- A stream with nothing in it goes, together with its group; enqueue makes it again.
for stream in pairs(acknowledged) do
  local key = domain_tag .. stream
  if try('XLEN', key) == 0 then redis.call('DEL', key) end
end
if end_concurrency_holds(streams) > 0 or next(at_once) then wake_one() end

local per_counter = {}
for stream, of_stream in pairs(counts) do
  local _, tier = split_stream(stream)
  for outcome, count in pairs(of_stream) do
    local counter = tier .. ':' .. outcome
    per_counter[counter] = (per_counter[counter] or 0) + count
  end
end
for counter, count in pairs(per_counter) do redis.call('HINCRBY', counters_key, counter, count) end
tell(event_lines)
return reply
