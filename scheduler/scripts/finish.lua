-- finish: ownership checked, entry acknowledged and deleted, response stored and announced, next state.
-- A worker that is not the owner any more is refused and writes nothing. The first write is an XACK, so
-- that the script still runs when the server is out of memory.
--
-- @keys owned cancelling scheduled returned callback counters
-- @argv now_ms:int worker_id:str duplicate_window_ms:int response_ttl_ms:int callback_ttl_ms:int items:rest
--       items: (id, token, outcome, due_ms, reply_to, unique_key, response, event, extra)*
--       extra: '' or JSON {reason, attempt, callback_queue, callback, scope, until_ms}; attempt is a line of JSON about
--       a failure; scope and until_ms: its handler said not now
-- @include owned
-- @include returned
-- @include settle
-- @include bury
-- @include events
-- @include wake
-- @include run_time
-- @include attempts
-- @include backpressure
-- REPLY: per item 1 (accepted) or 0 (not the owner any more)

local SIZE = 9
local RUN_TIME_IN_EVENT = '^outcome %d+ %S+ %S+ %S+ %S+ %d+ (%d+)'
local ids = {}
for i = items_at, #ARGV, SIZE do ids[#ids + 1] = ARGV[i] end
local records = redis.call('HMGET', owned_prefix .. worker_id, unpack(ids))

local reply, streams, acknowledged, at_once = {}, {}, {}, {}

-- First look at everything, then write. What is accepted stands in these, by the item's number.
local stream_of, entry_of, attempt_of, fields_of = {}, {}, {}, {}
local closed, measured, corrections = {}, {}, {}
local failed_before, histories = {}, {}

-- In a tier fair by run time: charge what it took instead of what was expected.
local function measure(n, stream, outcome)
  local charge, weight, action_type = parse_charge(records[n])
  if not charge or outcome == 'expired' then return end
  local run_time_us = tonumber(string.match(ARGV[items_at + (n - 1) * SIZE + 7], RUN_TIME_IN_EVENT) or 0)
  local delta = charge_for(run_time_us, tonumber(weight)) - tonumber(charge)
  corrections[stream] = (corrections[stream] or 0) + delta
  if outcome ~= 'cancelled' then measured[#measured + 1] = {stream, action_type, run_time_us} end
end

for n, id in ipairs(ids) do
  reply[n] = 0
  if records[n] and not closed[id] then
    local at = items_at + (n - 1) * SIZE
    local token, stream, entry, attempt = parse_owned(records[n])
    if token == ARGV[at + 1] then
      local outcome = ARGV[at + 2]
      reply[n], closed[id], streams[stream] = 1, true, true
      stream_of[n], entry_of[n], attempt_of[n] = stream, entry, attempt
      measure(n, stream, outcome)
      if attempt ~= '1' then failed_before[#failed_before + 1] = id end
      if outcome ~= 'retry' and outcome ~= 'snoozed' then group(acknowledged, stream, entry) end
      if outcome == 'dead' then
        local found = try('XRANGE', domain_tag .. stream, entry, entry)
        fields_of[n] = found and found[1] and found[1][2] or {}
      end
    end
  end
end
if not next(streams) then return reply end
if #failed_before > 0 then
  for i, history in ipairs(redis.call('HMGET', attempts_key, unpack(failed_before))) do
    histories[failed_before[i]] = history or nil
  end
end

for stream, entries in pairs(acknowledged) do
  local key = domain_tag .. stream
  try('XACK', key, 'workers', unpack(entries))
  try('XDEL', key, unpack(entries))
end

local not_now, later = {}, false

local function extra_of(at)
  if ARGV[at + 8] == '' then return {} end
  local extra = cjson.decode(ARGV[at + 8])
  if extra.scope then not_now[extra.scope] = math.max(extra.until_ms, not_now[extra.scope] or 0) end
  return extra
end

-- Another attempt: the same entry, parked. A snooze spends no attempt, the delivery count goes back by one.
local function again(n, at, id, outcome)
  local stream, attempt = stream_of[n], tonumber(attempt_of[n])
  if not park(stream, entry_of[n], outcome == 'snoozed' and attempt - 1 or attempt) then
    bury_lost(id, stream, now_ms, attempt)
    settle(id, 'dead', ARGV[at + 4], ARGV[at + 6], response_ttl_ms, ARGV[at + 5])
    return
  end
  local extra = extra_of(at)
  local line = outcome == 'retry' and extra.attempt
  if line then redis.call('HSET', attempts_key, id, (add_attempt(histories[id], line, 0))) end
  local due_ms = tonumber(ARGV[at + 3])
  if due_ms > now_ms then
    redis.call('ZADD', scheduled_key, due_ms, id)
    later = true
  else
    group(at_once, stream, entry_of[n])
  end
end

local function close(n, at, id, outcome)
  if histories[id] then redis.call('HDEL', attempts_key, id) end
  settle(id, outcome, ARGV[at + 4], ARGV[at + 6], response_ttl_ms, ARGV[at + 5])
  if ARGV[at + 8] == '' and outcome ~= 'dead' then return end
  local extra = extra_of(at)
  if outcome == 'dead' then
    bury(stream_of[n], now_ms, extra.reason or '', attempt_of[n], fields_of[n][2], fields_of[n][4],
      attempt_lines(histories[id], extra.attempt))
  end
  local queue = extra.callback_queue
  -- Never push to a name taken on trust: it has this domain's callback prefix or nothing is pushed.
  if queue and string.sub(queue, 1, #callback_prefix) == callback_prefix then
    redis.call('LPUSH', queue, extra.callback)
    redis.call('PEXPIRE', queue, callback_ttl_ms)
  end
end

local finished, event_lines, counts = {}, {}, {}
for n, id in ipairs(ids) do
  local stream = stream_of[n]
  if stream then
    local at = items_at + (n - 1) * SIZE
    local outcome = ARGV[at + 2]
    finished[#finished + 1] = id
    event_lines[#event_lines + 1] = ARGV[at + 7]
    local of_outcome = counts[outcome]
    if not of_outcome then
      of_outcome = {}
      counts[outcome] = of_outcome
    end
    of_outcome[stream] = (of_outcome[stream] or 0) + 1
    if outcome == 'retry' or outcome == 'snoozed' then
      again(n, at, id, outcome)
    else
      close(n, at, id, outcome)
    end
  end
end

write_all('HDEL', owned_prefix .. worker_id, finished)
write_all('SREM', cancelling_prefix .. worker_id, finished)
write_settled(now_ms, duplicate_window_ms)
if #measured > 0 then learn_all(now_ms, measured) end
correct_tags(corrections)
if next(at_once) then put_back(at_once) end
press(not_now, now_ms, event_lines)
-- A stream with nothing in it goes, together with its group; enqueue makes it again.
for stream in pairs(acknowledged) do
  local key = domain_tag .. stream
  if try('XLEN', key) == 0 then redis.call('DEL', key) end
end
-- For what is due later, too: who sleeps planned without it, and who hands it in may claim nothing by then.
if end_concurrency_holds(streams) > 0 or next(at_once) or later then wake_one() end

for outcome, of_outcome in pairs(counts) do
  local per_tier = {}
  for stream, count in pairs(of_outcome) do
    local _, tier = split_stream(stream)
    per_tier[tier] = (per_tier[tier] or 0) + count
  end
  for tier, count in pairs(per_tier) do
    redis.call('HINCRBY', counters_key, tier .. ':' .. outcome, count)
  end
end
tell(event_lines)
return reply
