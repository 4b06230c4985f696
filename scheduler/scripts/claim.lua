-- claim: which tier, which tenant, what the limits allow; XREADGROUP; ownership recorded in the same step.
-- The algorithm is explained, and tested against this script, in scheduler/fairness.py.
--
-- @keys policy fairness ready waiting held held_why tags usage usage_due returned returned_count workers owned sleepers counters
-- @argv now_ms:int worker_id:str slots:int lease_until_ms:int periods:rest
--       periods: (name, start_ms, end_ms)* of the calendar periods that contain now_ms
-- @include candidates
-- @include promote
-- @include run_time
-- @include virtual_time
-- @include wake
-- @include bury
-- @include events
-- REPLY: {status, token, next_due_ms, more, policy_version, (stream, attempt, head, data)*}
--        status: 'ok', 'lost' (worker not registered), 'nopolicy', or {'periods', name*}: call again with these

local DUE_AT_ONCE = 100

local lease = redis.call('ZSCORE', workers_key, worker_id)
if not lease then return {'lost'} end
local policy_json = redis.call('GET', policy_key)
if not policy_json then return {'nopolicy'} end
if tonumber(lease) < now_ms then
  redis.call('ZREM', workers_key, worker_id) -- allowed when the server is out of memory, then the rest is too
  redis.call('ZADD', workers_key, lease_until_ms, worker_id)
end

local policy = cjson.decode(policy_json)
local periods = {}
for i = periods_at, #ARGV, 3 do periods[ARGV[i]] = {tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])} end
for _, name in ipairs(policy.periods) do
  if not periods[name] then return {'periods', unpack(policy.periods)} end
end

local function go_to_sleep()
  redis.call('ZREM', sleepers_key, worker_id) -- see above: out of memory
  redis.call('ZADD', sleepers_key, now_ms, worker_id)
end

promote_due(now_ms, DUE_AT_ONCE)
end_due_holds(now_ms, DUE_AT_ONCE)

-- The domain's own limits cap the whole call.
local asked, domain_states, domain_free_at = slots, {}, 0
if #policy.limits > 0 then
  local packed = redis.call('HGET', usage_key, '*')
  if packed then domain_states = cmsgpack.unpack(packed) end
  slots, domain_free_at = allowance(policy.limits, domain_states, now_ms, periods, slots)
  if slots == 0 then
    go_to_sleep()
    return {'ok', 0, domain_free_at, 0, policy.version or 0}
  end
end

local fields = {'token'}
for _, tier in ipairs(policy.tiers) do
  fields[#fields + 1] = 'vt:' .. tier.name
  fields[#fields + 1] = 'credit:' .. tier.name
end
local kept = redis.call('HMGET', fairness_key, unpack(fields))
local token = tonumber(kept[1] or 0) + 1
visits_left = 2 * slots + 64
quantum = math.max(1, math.min(8, math.floor(slots / 6)))
some_returned = redis.call('EXISTS', returned_count_key) == 1

for i, tier in ipairs(policy.tiers) do
  tier.virtual_time, tier.credit = tonumber(kept[2 * i] or 0), tonumber(kept[2 * i + 1] or 0)
  tier.stood_at = tier.virtual_time
  tier.fresh, tier.next, tier.offset, tier.chunk, tier.exhausted = {}, 1, 0, 8, false
  tier.served, tier.first_served, tier.touched = {}, 1, {}
  tier.charge = math.floor(1000000 / tier.weight)
  if tier.by_run_time then
    local packed = redis.call('HGET', usage_key, '*:' .. tier.name)
    tier.estimates = packed and cmsgpack.unpack(packed)['~'] or {}
  end
end

-- A slot goes to the tier that is owed a whole start of its guaranteed share, else to the best priority.
local live = policy.tiers
local function choose(wanted)
  local best, best_head, owed, owed_head, gone = nil, nil, nil, nil, false
  for _, tier in ipairs(live) do
    local head = peek(tier, now_ms, periods, wanted)
    if head then
      if not best then best, best_head = tier, head end
      if tier.share > 0 then
        tier.credit = tier.credit + tier.share
        if tier.credit >= 1000000 and (not owed or tier.credit > owed.credit) then owed, owed_head = tier, head end
      end
    else
      tier.credit, tier.gone, gone = 0, true, true
    end
  end
  if gone then
    local still = {}
    for _, tier in ipairs(live) do if not tier.gone then still[#still + 1] = tier end end
    live = still
  end
  if owed then return owed, owed_head end
  return best, best_head
end

local planned = 0
while planned < slots do
  local tier, candidate = choose(slots - planned)
  if not tier then break end
  if not candidate.charge then
    candidate.charge = tier.by_run_time
      and charge_for(estimate(candidate.states['~'] or {}, tier.estimates, ''), tier.weight) or tier.charge
  end
  take(tier, candidate)
  if tier.credit > 0 then tier.credit = math.max(tier.credit - 1000000, 0) end
  planned = planned + 1
end

local reply, owned, started = {'ok', token, 0, 0, policy.version or 0}, {}, 0
local usage, usage_due, held, held_why, event_lines = {}, {}, {}, {}, {}
local waiting, waiting_none = {}, {}
local token_prefix = token .. ' '

-- Hand over one entry. Returns 1 for a start, 0 for one past its deadline (to be answered, not run), nil for
-- something that `enqueue` did not write.
local function hand_over(tier, candidate, entry, fields_of_entry, attempt)
  local id, deadline_ms, data = read_entry(fields_of_entry)
  if not id then
    bury(candidate.stream, now_ms, 'malformed entry: not written by enqueue', attempt,
      '', cjson.encode(fields_of_entry or {}))
    redis.call('HINCRBY', counters_key, tier.name .. ':dead', 1)
    return nil
  end
  local at = #owned
  local is_start = deadline_ms == '0' or tonumber(deadline_ms) > now_ms
  local suffix = candidate.owned_suffix
  if tier.by_run_time then
    local action_type = rest_of_head(fields_of_entry[2])
    local charge = is_start
      and charge_for(estimate(candidate.states['~'] or {}, tier.estimates, action_type), tier.weight) or 0
    if is_start then candidate.last_charge = charge end
    candidate.charged = candidate.charged + charge
    suffix = ' ' .. charge .. ' ' .. tier.weight .. ' ' .. action_type
  end
  owned[at + 1] = id
  owned[at + 2] = candidate.owned_prefix .. entry .. ' ' .. attempt .. suffix
  at = #reply
  reply[at + 1] = candidate.stream
  reply[at + 2] = attempt
  reply[at + 3] = fields_of_entry[2]
  reply[at + 4] = data
  return is_start and 1 or 0
end

local function read_returned(candidate, key, most, each)
  local members = redis.call('ZPOPMIN', returned_prefix .. candidate.stream, most)
  for i = 1, #members, 2 do
    local entry = unsortable(members[i])
    local claimed = try('XCLAIM', key, 'workers', 'running', 0, entry)
    claimed = claimed and claimed[1]
    if claimed then
      local pending = redis.call('XPENDING', key, 'workers', entry, entry, 1)[1]
      each(entry, claimed[2], pending and pending[4] or 1)
    else
      try('XACK', key, 'workers', entry) -- 6.2 keeps the record of a deleted entry
    end
  end
  forget_returned(candidate.stream, #members / 2)
  return #members / 2
end

local function read_new(key, most)
  local read = try('XREADGROUP', 'GROUP', 'workers', 'running', 'COUNT', most, 'STREAMS', key, '>')
  if read == nil then -- somebody else deleted the stream, and perhaps made it again
    if not try('XGROUP', 'CREATE', key, 'workers', '0') then return {} end
    read = try('XREADGROUP', 'GROUP', 'workers', 'running', 'COUNT', most, 'STREAMS', key, '>')
  end
  return read and read[1][2] or {}
end

-- How many entries of a stream that should be drained nobody has taken yet: somebody else added to it what
-- looks like an action, was counted as one when it was read, and stands for one of the tenant's own.
local function uncounted(key)
  local there, taken = try('XLEN', key), try('XPENDING', key, 'workers')
  return there and taken and math.max(there - taken[1], 0) or 0
end

-- Read what was planned. `candidate.starts` becomes how many are starts, `candidate.waiting` what is left.
-- Virtual time is the tag of the action that started last.
local function start(tier, candidate)
  local key, starts, rejected, got = domain_tag .. candidate.stream, 0, {}, 0
  candidate.owned_prefix = token_prefix .. candidate.stream .. ' '
  candidate.owned_suffix = ' ' .. candidate.charge
  candidate.charged, candidate.last_charge = 0, candidate.charge
  local function each(entry, entry_fields, attempt)
    local is_start = hand_over(tier, candidate, entry, entry_fields, attempt)
    if is_start then
      starts, got = starts + is_start, got + 1
    else
      rejected[#rejected + 1] = entry
    end
  end
  local wanted, short = candidate.take, false
  if candidate.returned > 0 then
    local popped = read_returned(candidate, key, math.min(wanted, candidate.returned), each)
    wanted = wanted - popped
    candidate.waiting = candidate.waiting - (popped - got - #rejected) -- some may have been deleted meanwhile
  end
  if wanted > 0 then
    local entries = read_new(key, wanted)
    short = #entries < wanted
    for i = 1, #entries do each(entries[i][1], entries[i][2], 1) end
  end
  if #rejected > 0 then
    redis.call('XACK', key, 'workers', unpack(rejected))
    redis.call('XDEL', key, unpack(rejected))
    if redis.call('XLEN', key) == 0 then redis.call('DEL', key) end
  end
  if short then -- the stream has no more: somebody else deleted from it
    candidate.waiting = redis.call('ZCARD', returned_prefix .. candidate.stream)
  else
    candidate.waiting = math.max(candidate.waiting - got, 0)
    if candidate.waiting == 0 then
      candidate.waiting = uncounted(key)
      candidate.allowed = candidate.allowed + candidate.waiting -- no limit has spoken about them: look again
    end
  end
  candidate.starts = starts
  if not tier.by_run_time then candidate.charged = starts * candidate.charge end
  candidate.tag = candidate.tag - candidate.take * candidate.charge + candidate.charged
  if starts > 0 then tier.virtual_time = math.max(tier.virtual_time, candidate.tag - candidate.last_charge) end
  started = started + starts
end

-- Where the tenant goes now: out of the index when nothing waits, to the held index when a limit binds,
-- else back with its new tag.
local function settle_candidate(tier, candidate, index)
  local starts = candidate.starts or 0
  if starts > 0 and #tier.limits > 0 then
    local worthless_at = spend(tier.limits, candidate.states, now_ms, periods, starts)
    if candidate.states['~'] then worthless_at = math.max(worthless_at, now_ms + ESTIMATES_KEPT_MS) end
    usage_due[#usage_due + 1] = worthless_at
    usage_due[#usage_due + 1] = candidate.stream
    usage[#usage + 1] = candidate.stream
    usage[#usage + 1] = cmsgpack.pack(candidate.states)
  end
  if candidate.waiting == 0 then
    waiting_none[#waiting_none + 1] = candidate.stream
  elseif starts < candidate.allowed then
    waiting[#waiting + 1] = candidate.stream
    waiting[#waiting + 1] = candidate.waiting
    index.staying[#index.staying + 1] = candidate.tag
    index.staying[#index.staying + 1] = candidate.tenant
    return
  else
    waiting[#waiting + 1] = candidate.stream
    waiting[#waiting + 1] = candidate.waiting
    local _, free_at, why = allowance(tier.limits, candidate.states or {}, now_ms, periods, 1)
    if not why then free_at, why = 'inf', 'concurrency ' .. tier.concurrency end
    held[#held + 1] = free_at
    held[#held + 1] = candidate.stream
    held_why[#held_why + 1] = candidate.stream
    held_why[#held_why + 1] = why
    event_lines[#event_lines + 1] = 'hold ' .. now_ms .. ' ' .. candidate.stream .. ' ' .. free_at .. ' ' .. why
    tier.holds = (tier.holds or 0) + 1
  end
  index.leaving[#index.leaving + 1] = candidate.tenant
  if candidate.tag > tier.virtual_time then
    index.tags[#index.tags + 1] = candidate.tag
    index.tags[#index.tags + 1] = candidate.tenant
  end
end

local left_behind = false

local function write_tier(tier)
  local index = {leaving = {}, staying = {}, tags = {}}
  for _, candidate in ipairs(tier.touched) do
    if candidate.take > 0 then start(tier, candidate) end
  end
  for _, candidate in ipairs(tier.touched) do settle_candidate(tier, candidate, index) end
  local ready_key = ready_prefix .. tier.name
  if #index.staying > 0 then
    write_all('ZADD', ready_key, index.staying)
    left_behind = true
  end
  if #index.tags > 0 then write_all('ZADD', tags_prefix .. tier.name, index.tags) end
  if #index.leaving > 0 then
    write_all('ZREM', ready_key, index.leaving)
    if redis.call('EXISTS', ready_key) == 0 then
      tier.virtual_time = past_every_tag(tier.name, tier.virtual_time)
      return
    end
  end
  move_on(tier, #index.leaving)
  local passed = redis.call('ZRANGEBYSCORE', tags_prefix .. tier.name, '-inf', tier.virtual_time, 'LIMIT', 0, 100)
  if #passed > 0 then redis.call('ZREM', tags_prefix .. tier.name, unpack(passed)) end
end

local fairness = {}
for _, tier in ipairs(policy.tiers) do
  if something_left(tier) then left_behind = true end
  if #tier.touched > 0 then
    write_tier(tier)
    if tier.holds then redis.call('HINCRBY', counters_key, tier.name .. ':held', tier.holds) end
  end
end
for i, tier in ipairs(policy.tiers) do
  if tonumber(kept[2 * i] or 0) ~= tier.virtual_time or tonumber(kept[2 * i + 1] or 0) ~= tier.credit then
    fairness[#fairness + 1] = 'vt:' .. tier.name
    fairness[#fairness + 1] = tier.virtual_time
    fairness[#fairness + 1] = 'credit:' .. tier.name
    fairness[#fairness + 1] = tier.credit
  end
end

if started > 0 and #policy.limits > 0 then
  usage_due[#usage_due + 1] = spend(policy.limits, domain_states, now_ms, periods, started)
  usage_due[#usage_due + 1] = '*'
  usage[#usage + 1] = '*'
  usage[#usage + 1] = cmsgpack.pack(domain_states)
end
if #usage > 0 then
  write_all('HSET', usage_key, usage)
  write_all('ZADD', usage_due_key, usage_due)
end
if #waiting > 0 then write_all('HSET', waiting_key, waiting) end
if #waiting_none > 0 then write_all('HDEL', waiting_key, waiting_none) end
if #held > 0 then
  write_all('ZADD', held_key, held)
  write_all('HSET', held_why_key, held_why)
end
if #owned > 0 then
  fairness[#fairness + 1] = 'token'
  fairness[#fairness + 1] = token
  write_all('HSET', owned_prefix .. worker_id, owned)
end
if #fairness > 0 then redis.call('HSET', fairness_key, unpack(fairness)) end
tell(event_lines)

if left_behind then
  reply[4] = 1
  redis.call('ZREM', sleepers_key, worker_id)
  if planned >= asked then wake_one() end
elseif #owned / 2 < asked then
  reply[3] = next_due()
  go_to_sleep()
else
  redis.call('ZREM', sleepers_key, worker_id)
end
return reply
