-- @keys owned cancelling scheduled callback counters held attempts
-- @include stream
-- @include settle
-- @include events
-- @defer finish_rest

-- `finish` of any number of actions, whatever became of them; its header tells the arguments and the reply.

local ENTRY_ID = 45 -- bytes, more than an id of an entry has
local RUN_TIME_IN_EVENT = '^outcome %d+ %S+ %S+ %S+ %S+ %d+ (%d+)'
local BEFORE_IDS = items_at - 1
local ids = {unpack(ARGV, items_at, BEFORE_IDS + count)}
local records = redis.call('HMGET', owned_prefix .. worker_id, unpack(ids))

local reply, streams, acknowledged, at_once = {}, {}, {}, {}

-- First look at everything, then write. What is accepted stands in these, by the item's number; of items that are alike
-- and all over with their acknowledgement only the first two.
local entry_of, attempt_of, fields_of, stream_of = {}, {}, {}, {}
local closed, measured, corrections = {}, {}, {}
local failed_before, histories = {}, {}
local accepted, counts = 0, {} -- outcome → stream → how many
local hows, told = {}, nil

local rest -- of the functions, made when one of them is needed

local function need_rest()
  rest = rest or finish_rest()
end

-- `at`: where it is in the arguments; its run goes from the item `first` to `last`.
local function read_how(at, first, last)
  local how = {responses = at + 2 - first, first = first, last = last} -- the first: plus the item's number
  how.token, how.outcome, how.due_ms, how.reply_to, how.unique_key, how.extra =
    string.match(ARGV[at], '^(%d+) (%l+) (%d+) (%S+) (%S+) (.*)$')
  how.goes_on = how.outcome == 'retry' or how.outcome == 'snoozed'
  how.is_plain = how.outcome == 'completed' and how.unique_key == '-' and how.extra == ''
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
  need_rest()
  local _, _, _, _, charge, weight, action_type = rest.parse_owned(records[n])
  local run_time_us = tonumber(string.match(line_of(n), RUN_TIME_IN_EVENT) or 0)
  local delta = rest.charge_for(run_time_us, tonumber(weight)) - tonumber(charge)
  corrections[stream] = (corrections[stream] or 0) + delta
  if outcome ~= 'cancelled' then measured[#measured + 1] = {stream, action_type, run_time_us} end
end

-- What is not all over with the acknowledgement.
local function note(n, id, how, stream, entry, attempt)
  need_rest()
  entry_of[n], attempt_of[n] = entry, attempt
  if attempt ~= '1' then failed_before[#failed_before + 1] = id end
  if how.outcome == 'dead' then
    local found = try('XRANGE', domain_tag .. stream, entry, entry)
    fields_of[n] = found and found[1] and found[1][2] or {}
  end
end

local find, sub = string.find, string.sub -- looked up once, for they are needed for every action
local attempt_in, is_measured_in = {}, {} -- ends of records

-- What is in a record of the claim `token`, see parse_owned: its stream, entry and attempt, whether it is to be
-- measured, and how it begins and ends beside the entry. Most end alike, and those of a line begin alike.
local function take_apart(record, token)
  local from, at = find(record, token, 1, true)
  local stream_end = from == 1 and find(record, ' ', at + 1, true)
  local entry_end = stream_end and find(record, ' ', stream_end + 1, true)
  if not entry_end then return nil end
  local rest = sub(record, entry_end)
  local attempt = attempt_in[rest]
  if not attempt then
    local more_at
    attempt, more_at = string.match(rest, '^ (%d+) ?%d* ?%S*()')
    if not attempt then return nil end
    attempt_in[rest], is_measured_in[rest] = attempt, more_at <= #rest
  end
  return sub(record, at + 1, stream_end - 1), sub(record, stream_end + 1, entry_end - 1), attempt,
    is_measured_in[rest], sub(record, 1, stream_end), rest
end

-- The items of one run: those of `owned:<worker>` that have its token.
local function look_at_run(how)
  local token, outcome, is_plain = how.token .. ' ', how.outcome, how.is_plain
  local counted, by_stream = counts[outcome], how.goes_on and {} or acknowledged
  local is_noted = how.goes_on or outcome == 'dead'
  local line, before, rest, of_line -- of the record before: its stream, how it begins and ends, entries of its stream
  for n = how.first, how.last do
    local id, record = ids[n], records[n]
    reply[n] = 0
    if record and not closed[id] then
      local rest_at
      if before and find(record, before, 1, true) == 1 then rest_at = find(record, rest, #before + 1, true) end
      if rest_at and rest_at + #rest > #record and rest_at - #before < ENTRY_ID then
        of_line[#of_line + 1] = sub(record, #before + 1, rest_at - 1)
        accepted, reply[n], closed[id] = accepted + 1, 1, true
        counted[line] = counted[line] + 1
      else
        local stream, entry, attempt, is_measured
        stream, entry, attempt, is_measured, before, rest = take_apart(record, token)
        if stream then
          accepted, reply[n], closed[id], stream_of[n] = accepted + 1, 1, true, stream
          line, of_line = stream, by_stream[stream]
          if of_line then
            of_line[#of_line + 1] = entry
          else
            of_line = {entry}
            by_stream[stream], streams[stream] = of_line, true
          end
          counted[stream] = (counted[stream] or 0) + 1
          if is_noted or attempt ~= '1' then note(n, id, how, stream, entry, attempt) end
          if is_measured then measure(n, stream, outcome) end
          if not is_plain or attempt ~= '1' or is_measured then before = nil end
        end
      end
    end
  end
end

local looked_at, at = 0, items_at + count
while looked_at < count do
  local last = looked_at + tonumber(ARGV[at + 1])
  local how = read_how(at, looked_at + 1, last)
  hows[#hows + 1] = how
  look_at_run(how)
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
  need_rest()
  if extra.scope then not_now[extra.scope] = math.max(extra.until_ms, not_now[extra.scope] or 0) end
  return extra
end

-- Another attempt: the same entry, parked. A snooze spends no attempt, the delivery count goes back by one.
-- When it is due it is found by its id. Somebody else's copy of an entry is found so when the action itself is over;
-- as long as that is not, the copy is not tried again.
local function again(n, id, how)
  local stream, attempt, outcome = stream_of[n], tonumber(attempt_of[n]), how.outcome
  if not rest.park(stream, entry_of[n], outcome == 'snoozed' and attempt - 1 or attempt) then
    rest.bury_lost(id, stream, now_ms, attempt)
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
  if line then redis.call('HSET', attempts_key, id, (rest.add_attempt(histories[id], line, 0))) end
  local due_ms = tonumber(how.due_ms)
  if due_ms > now_ms then
    redis.call('ZADD', scheduled_key, due_ms, id)
    later = true
  else
    rest.group(at_once, stream, entry_of[n])
  end
end

local function close(n, id, how)
  local outcome = how.outcome
  if histories[id] then redis.call('HDEL', attempts_key, id) end
  settle(id, outcome, how.reply_to, ARGV[how.responses + n], response_ttl_ms, how.unique_key)
  if how.extra == '' and outcome ~= 'dead' then return end
  local extra = extra_of(how)
  if outcome == 'dead' then
    rest.bury(stream_of[n], now_ms, extra.reason or '', attempt_of[n], fields_of[n][2], fields_of[n][4],
      rest.attempt_lines(histories[id], extra.attempt))
  end
  local queue = extra.callback_queue
  -- Never push to a name taken on trust: it has this domain's callback prefix or nothing is pushed.
  if queue and string.sub(queue, 1, #callback_prefix) == callback_prefix then
    redis.call('LPUSH', queue, extra.callback)
    redis.call('PEXPIRE', queue, callback_ttl_ms)
  end
end

local event_lines, finished = {}, ids
if accepted == count then
  event_lines[1] = lines
else
  finished = {}
  for n, id in ipairs(ids) do
    if reply[n] == 1 then
      finished[#finished + 1] = id
      event_lines[#event_lines + 1] = line_of(n)
    end
  end
end
for _, how in ipairs(hows) do
  if how.is_plain and not failed_before[1] then
    settle_alike(how, ids, reply, response_ttl_ms)
  else
    for n = how.first, how.last do
      if reply[n] == 1 then
        if how.goes_on then again(n, ids[n], how) else close(n, ids[n], how) end
      end
    end
  end
end

write_all('HDEL', owned_prefix .. worker_id, finished)
local cancelling_key = cancelling_prefix .. worker_id
local is_quiet = redis.call('EXISTS', cancelling_key, held_key, parents_key, cancel_asked_key) == 0
if not is_quiet then
  need_rest()
  if redis.call('EXISTS', cancelling_key) == 1 then write_all('SREM', cancelling_key, finished) end
end
write_settled(now_ms, duplicate_window_ms, is_quiet)
if rest then
  if #measured > 0 then rest.learn_all(now_ms, measured) end
  rest.correct_tags(corrections)
  if next(at_once) then rest.put_back(at_once) end
  rest.press(not_now, now_ms, event_lines)
  -- For what is due later, too: who sleeps planned without it, and who hands it in may claim nothing by then.
  if not is_quiet and rest.end_concurrency_holds(streams) > 0 or next(at_once) or later then rest.wake_one() end
end

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
