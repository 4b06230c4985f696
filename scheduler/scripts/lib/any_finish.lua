-- @keys owned cancelling scheduled returned callback counters
-- @include owned
-- @include returned
-- @include settle
-- @include bury
-- @include events
-- @include wake
-- @include run_time
-- @include attempts
-- @include backpressure

-- `finish` of any number of actions, whatever became of them; its header tells the arguments and the reply.

local RUN_TIME_IN_EVENT = '^outcome %d+ %S+ %S+ %S+ %S+ %d+ (%d+)'
local BEFORE_IDS = items_at - 1
local ids = {unpack(ARGV, items_at, BEFORE_IDS + count)}
local records = redis.call('HMGET', owned_prefix .. worker_id, unpack(ids))

local reply, streams, acknowledged, at_once = {}, {}, {}, {}

-- First look at everything, then write. What is accepted stands in these, by the item's number.
local how_of, stream_of, entry_of, attempt_of, fields_of = {}, {}, {}, {}, {}
local closed, measured, corrections = {}, {}, {}
local failed_before, histories = {}, {}
local accepted, counts = 0, {} -- outcome → stream → how many
local told

-- `at`: where it is in the arguments; `first`: the first item of its run.
local function read_how(at, first)
  local how = {responses = at + 2 - first} -- plus the item's number
  how.token, how.outcome, how.due_ms, how.reply_to, how.unique_key, how.extra =
    string.match(ARGV[at], '^(%d+) (%l+) (%d+) (%S+) (%S+) (.*)$')
  how.goes_on = how.outcome == 'retry' or how.outcome == 'snoozed'
  counts[how.outcome] = counts[how.outcome] or {}
  return how
end

local function line_of(n)
  if not told then
    told = {}
    for line in string.gmatch(lines, '[^\n]+') do told[#told + 1] = line end
  end
  return told[n]
end

-- In a tier fair by run time: charge what it took instead of what was expected.
local function measure(n, stream, outcome)
  if outcome == 'expired' then return end
  local _, _, _, _, charge, weight, action_type = parse_owned(records[n])
  local run_time_us = tonumber(string.match(line_of(n), RUN_TIME_IN_EVENT) or 0)
  local delta = charge_for(run_time_us, tonumber(weight)) - tonumber(charge)
  corrections[stream] = (corrections[stream] or 0) + delta
  if outcome ~= 'cancelled' then measured[#measured + 1] = {stream, action_type, run_time_us} end
end

-- What is not all over with the acknowledgement.
local function note(n, id, how, stream, entry, attempt)
  entry_of[n], attempt_of[n] = entry, attempt
  if attempt ~= '1' then failed_before[#failed_before + 1] = id end
  if how.outcome == 'dead' then
    local found = try('XRANGE', domain_tag .. stream, entry, entry)
    fields_of[n] = found and found[1] and found[1][2] or {}
  end
end

-- The items of one run: those of `owned:<worker>` that have its token, see parse_owned.
local function look_at_run(how, first, last)
  local owned_record, outcome = '^' .. how.token .. ' (%S+) (%S+) (%d+) ?%d* ?%S*()', how.outcome
  local counted, by_stream = counts[outcome], how.goes_on and {} or acknowledged
  local is_noted = how.goes_on or outcome == 'dead'
  for n = first, last do
    local id, record = ids[n], records[n]
    local stream, entry, attempt, more_at
    if record and not closed[id] then stream, entry, attempt, more_at = string.match(record, owned_record) end
    if stream then
      accepted = accepted + 1
      reply[n], closed[id], how_of[n], stream_of[n] = 1, true, how, stream
      local entries = by_stream[stream]
      if entries then
        entries[#entries + 1] = entry
      else
        by_stream[stream], streams[stream] = {entry}, true
      end
      counted[stream] = (counted[stream] or 0) + 1
      if is_noted or attempt ~= '1' then note(n, id, how, stream, entry, attempt) end
      if more_at <= #record then measure(n, stream, outcome) end
    else
      reply[n] = 0
    end
  end
end

local looked_at, at = 0, items_at + count
while looked_at < count do
  local last = looked_at + tonumber(ARGV[at + 1])
  look_at_run(read_how(at, looked_at + 1), looked_at + 1, last)
  at, looked_at = at + 2 + last - looked_at, last
end
if accepted == 0 then return reply end
if #failed_before > 0 then
  for i, history in ipairs(redis.call('HMGET', attempts_key, unpack(failed_before))) do
    histories[failed_before[i]] = history or nil
  end
end

-- A stream with nothing in it goes, together with its group and what that has handed out; enqueue makes it again.
for stream, entries in pairs(acknowledged) do
  local key = domain_tag .. stream
  try('XDEL', key, unpack(entries))
  if try('XLEN', key) == 0 then redis.call('DEL', key) else try('XACK', key, 'workers', unpack(entries)) end
end

local not_now, later = {}, false

local function extra_of(how)
  if how.extra == '' then return {} end
  local extra = cjson.decode(how.extra)
  if extra.scope then not_now[extra.scope] = math.max(extra.until_ms, not_now[extra.scope] or 0) end
  return extra
end

-- Another attempt: the same entry, parked. A snooze spends no attempt, the delivery count goes back by one.
-- When it is due it is found by its id. Somebody else's copy of an entry is found so when the action itself is over;
-- as long as that is not, the copy is not tried again.
local function again(n, id, how)
  local stream, attempt, outcome = stream_of[n], tonumber(attempt_of[n]), how.outcome
  if not park(stream, entry_of[n], outcome == 'snoozed' and attempt - 1 or attempt) then
    bury_lost(id, stream, now_ms, attempt)
    settle(id, 'dead', how.reply_to, ARGV[how.responses + n], response_ttl_ms, how.unique_key)
    return
  end
  local place, here = redis.call('HGET', actions_key, id), stream .. ' ' .. entry_of[n]
  if not place then
    redis.call('HSET', actions_key, id, here)
  elseif place ~= here then
    local key = domain_tag .. stream
    try('XACK', key, 'workers', entry_of[n])
    try('XDEL', key, entry_of[n])
    if try('XLEN', key) == 0 then redis.call('DEL', key) end
    return
  end
  local extra = extra_of(how)
  local line = outcome == 'retry' and extra.attempt
  if line then redis.call('HSET', attempts_key, id, (add_attempt(histories[id], line, 0))) end
  local due_ms = tonumber(how.due_ms)
  if due_ms > now_ms then
    redis.call('ZADD', scheduled_key, due_ms, id)
    later = true
  else
    group(at_once, stream, entry_of[n])
  end
end

local function close(n, id, how)
  local outcome = how.outcome
  if histories[id] then redis.call('HDEL', attempts_key, id) end
  settle(id, outcome, how.reply_to, ARGV[how.responses + n], response_ttl_ms, how.unique_key)
  if how.extra == '' and outcome ~= 'dead' then return end
  local extra = extra_of(how)
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

local event_lines, finished = {}, ids
if accepted == count then event_lines[1] = lines else finished = {} end
for n, id in ipairs(ids) do
  local how = how_of[n]
  if how then
    if accepted < count then
      finished[#finished + 1] = id
      event_lines[#event_lines + 1] = line_of(n)
    end
    if how.goes_on then again(n, id, how) else close(n, id, how) end
  end
end

write_all('HDEL', owned_prefix .. worker_id, finished)
local cancelling_key = cancelling_prefix .. worker_id
if redis.call('EXISTS', cancelling_key) == 1 then write_all('SREM', cancelling_key, finished) end
write_settled(now_ms, duplicate_window_ms)
if #measured > 0 then learn_all(now_ms, measured) end
correct_tags(corrections)
if next(at_once) then put_back(at_once) end
press(not_now, now_ms, event_lines)
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
