-- @keys cancel_asked policy fairness ready waiting held held_why tags usage usage_due returned returned_count workers owned sleepers counters
-- @keys scheduled overrides pauses backpressure
-- @include claim_begun
-- @include claim_state
-- @include stream
-- @include variadic
-- @defer promote promote_due end_due_holds next_due
-- @defer pauses read_what_is_said
-- @defer named_limits read_named_limits spend_named
-- @defer copies drop_copies
-- @include candidates
-- @include planning
-- @include starting
-- @include waiting
-- @include virtual_time
-- @include wake
-- @include events

-- `claim` whatever is ready, due, held, paused or refused; its header tells the arguments and the reply.

local DUE_AT_ONCE = 100

local policy = cjson.decode(policy_json)
for i = periods_at, #ARGV, 3 do periods[ARGV[i]] = {tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])} end
for _, name in ipairs(policy.periods) do
  if not periods[name] then return {'periods', unpack(policy.periods)} end
end

local function go_to_sleep()
  redis.call('ZREM', sleepers_key, worker_id) -- see above: out of memory
  redis.call('ZADD', sleepers_key, now_ms, worker_id)
end

-- Most claims find none of these: one look at all of them instead of one at each.
local function anything_rare()
  local keys = {scheduled_key, held_key, overrides_key, pauses_key, backpressure_key, returned_count_key, cancel_asked_key}
  for _, tier in ipairs(policy.tiers) do keys[#keys + 1] = tags_prefix .. tier.name end
  return redis.call('EXISTS', unpack(keys)) > 0
end

local promote_due, end_holds_due, next_due
local has_rare = anything_rare()
if has_rare then
  promote_due, end_holds_due, next_due = promote()
  promote_due(now_ms, DUE_AT_ONCE)
  end_holds_due(now_ms, DUE_AT_ONCE)
  pauses()(now_ms)
end

-- Nothing at all may start.
local domain_until = pressed_until('*', now_ms)
if paused.domain or domain_until > 0 then
  go_to_sleep()
  return {'ok', 0, paused.domain and 0 or domain_until, 0, policy.version or 0}
end

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
local tiers = {}
all_tiers = policy.tiers
quantum = math.max(1, math.min(8, math.floor(slots / 6)))

-- What the policy says of a tier and what this claim finds out; every field has a place from the beginning.
local function tier_of_claim(said, virtual_time, credit)
  return {
    name = said.name, share = said.share, weight = said.weight, limits = said.limits, concurrency = said.concurrency,
    by_run_time = said.by_run_time, shared = said.tier_limits or {}, states = false, estimates = false, room = slots,
    virtual_time = virtual_time, stood_at = virtual_time, credit = credit,
    fresh = {}, next = 1, offset = 0, chunk = 2, exhausted = false, touched = {}, read = 0,
    served = false, first_served = 1, turn = false, head = false, gone = false,
    charged_last = false, record_after = false, starts = 0, holds = 0,
  }
end

local spend_named
if policy.named and policy.named[1] then
  local read_named_limits
  read_named_limits, spend_named = named_limits()
  read_named_limits(policy.named, now_ms, periods, slots)
end
local blocked_until = math.huge
some_shared = some_overridden
for i, said in ipairs(policy.tiers) do
  local tier = tier_of_claim(said, (kept[2 * i] or 0) + 0, (kept[2 * i + 1] or 0) + 0)
  tiers[i] = tier
  local until_ms = pressed_until('*:' .. tier.name, now_ms)
  if tier.by_run_time or tier.shared[1] then
    local packed = redis.call('HGET', usage_key, '*:' .. tier.name)
    tier.states = packed and cmsgpack.unpack(packed) or {}
    tier.estimates = tier.states['~'] or {}
    local free_at
    tier.room, free_at = allowance(tier.shared, tier.states, now_ms, periods, slots)
    if tier.room == 0 then until_ms = math.max(until_ms, free_at) end
  end
  if paused.tiers[tier.name] then until_ms = math.huge end
  if until_ms == 0 then
    open[#open + 1] = tier
    some_shared = some_shared or tier.concurrency > 0
  else
    tier.credit, tier.exhausted = 0, true
    if redis.call('EXISTS', ready_prefix .. tier.name) == 1 then blocked_until = math.min(blocked_until, until_ms) end
  end
end

if some_shared then has_slot, count_handed = tenant_slots() end
find_first_heads(open, slots)

local planned = plan(slots)
if #unknown_periods > 0 then return {'zones', unpack(unknown_periods)} end
redis.call('ZREM', sleepers_key, worker_id) -- allowed when the server is out of memory, then what follows is too

reply = {'ok', token, 0, 0, policy.version or 0}
token_prefix = token .. ' '
local started = 0

-- Where actions of a paused type were in the way, somebody else gets the slot.
repeat
  local unused = 0
  read_ahead(open)
  for _, tier in ipairs(open) do
    for at = tier.read + 1, #tier.touched do
      local candidate = tier.touched[at]
      if candidate.take > 0 then
        local left = start(tier, candidate, now_ms, periods)
        if some_shared then count_handed(candidate, candidate.handed) end
        tier.starts = tier.starts + candidate.starts
        tier.room, unused = tier.room + left, unused + left
      end
    end
    tier.read = #tier.touched
  end
  planned = planned - unused
  if unused == 0 or aside_left <= 0 then break end
  planned = planned + plan(unused)
until false

local usage, usage_due, held, held_why, event_lines = {}, {}, {}, {}, {}
local waiting, waiting_none = {}, {}

local function keep_usage(scope, states, worthless_at)
  usage_due[#usage_due + 1] = as_text(worthless_at)
  usage_due[#usage_due + 1] = scope
  usage[#usage + 1] = scope
  usage[#usage + 1] = cmsgpack.pack(states)
end

-- A hash of small fields is searched from its first; one that ever had a large one, by name.
local function add_large_field(fields)
  fields[#fields + 1] = ''
  fields[#fields + 1] = string.rep(' ', 65)
end

-- Where the tenant goes now: out of the index when nothing waits, to the held index when a limit binds,
-- else back with its new tag.
local function settle_candidate(tier, candidate, index)
  local starts = candidate.starts or 0
  local limits = candidate.rules.limits
  if starts > 0 and #limits > 0 then
    local worthless_at = spend(limits, candidate.states, now_ms, periods, starts)
    if candidate.states['~'] then worthless_at = math.max(worthless_at, now_ms + ESTIMATES_KEPT_MS) end
    keep_usage(candidate.stream, candidate.states, worthless_at)
  end
  if candidate.waiting == 0 then
    waiting_none[#waiting_none + 1] = candidate.stream
  elseif starts < candidate.allowed and not candidate.refused and (not some_shared or has_slot(candidate)) then
    waiting[#waiting + 1] = candidate.stream
    waiting[#waiting + 1] = candidate.waiting
    local at = #index.staying
    index.staying[at + 1], index.staying[at + 2] = as_text(candidate.tag), candidate.tenant
    return
  else
    waiting[#waiting + 1] = candidate.stream
    waiting[#waiting + 1] = candidate.waiting
    local free_at, why
    if candidate.refused then free_at, why = unpack(candidate.refused)
    else free_at, why = binding(candidate, now_ms, periods) end
    held[#held + 1] = free_at
    held[#held + 1] = candidate.stream
    held_why[#held_why + 1] = candidate.stream
    held_why[#held_why + 1] = why
    event_lines[#event_lines + 1] = 'hold ' .. now_ms .. ' ' .. candidate.stream .. ' ' .. free_at .. ' ' .. why
    tier.holds = tier.holds + 1
  end
  index.leaving[#index.leaving + 1] = candidate.tenant
  if candidate.tag > tier.virtual_time then
    index.tags[#index.tags + 1] = candidate.tag
    index.tags[#index.tags + 1] = candidate.tenant
  end
end

-- Of what is handed over, what somebody wants cancelled.
local function mark_cancelled()
  local at, n = 6, 0
  while reply[at] do
    local last = at + 2 * tonumber(string.match(reply[at], '%d+$'))
    for head_at = at + 1, last, 2 do
      n = n + 1
      if redis.call('SISMEMBER', cancel_asked_key, owned[2 * n - 1]) == 1 then reply[head_at] = '-' .. reply[head_at] end
    end
    at = last + 1
  end
end

local left_behind = #unknown_periods > 0 -- found after the first look: the next claim asks for them

local function write_tier(tier)
  local index = {leaving = {}, staying = {}, tags = {}}
  if tier.shared[1] and tier.starts > 0 then
    keep_usage('*:' .. tier.name, tier.states, spend(tier.shared, tier.states, now_ms, periods, tier.starts))
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
  if not has_rare and not index.tags[1] then return end
  local passed = redis.call('ZRANGEBYSCORE', tags_prefix .. tier.name, '-inf', tier.virtual_time, 'LIMIT', '0', '100')
  if #passed > 0 then redis.call('ZREM', tags_prefix .. tier.name, unpack(passed)) end
end

local fairness = {}
for i = 1, #tiers do
  local tier = tiers[i]
  if something_left(tier) then left_behind = true end
  if tier.touched[1] then
    write_tier(tier)
    started = started + tier.starts
    if tier.holds > 0 then redis.call('HINCRBY', counters_key, tier.name .. ':held', tier.holds) end
  end
  if tier.virtual_time ~= tier.stood_at or tier.credit ~= (kept[2 * i + 1] or 0) + 0 then
    local at = #fairness
    fairness[at + 1], fairness[at + 2] = fields[2 * i], tier.virtual_time
    fairness[at + 3], fairness[at + 4] = fields[2 * i + 1], tier.credit
  end
end

if started > 0 and #policy.limits > 0 then
  keep_usage('*', domain_states, spend(policy.limits, domain_states, now_ms, periods, started))
end
for _, each in ipairs(named) do
  spend_named(each, now_ms, periods)
  if each.worthless_at then keep_usage(each.scope, each.states, each.worthless_at) end
end
if #usage > 0 then
  write_all('HSET', usage_key, usage)
  each_slice(usage_due, 4000, function(...) redis.call('ZADD', usage_due_key, 'GT', ...) end)
end
if #waiting > 10 then
  add_large_field(waiting)
  waiting_none[#waiting_none + 1] = ''
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
  local owned_key, count = owned_prefix .. worker_id, #owned
  if count > 20 then add_large_field(owned) end
  local new = write_all('HSET', owned_key, owned)
  if count > 20 then
    redis.call('HDEL', owned_key, '')
    owned[count + 1], owned[count + 2], new = nil, nil, new - 1
  end
  if new < count / 2 and copies()(worker_id, new) > 0 then left_behind = true end -- somebody else copied an entry
  if has_rare and redis.call('EXISTS', cancel_asked_key) == 1 then mark_cancelled() end
end
if #fairness > 0 then redis.call('HSET', fairness_key, unpack(fairness)) end
tell(event_lines)

if left_behind or resuming_type then
  reply[4] = 1
  if planned >= asked then wake_one() end
else
  if #held > 0 and not next_due then promote_due, end_holds_due, next_due = promote() end
  local due = next_due and next_due() or 0
  if blocked_until < math.huge and (due == 0 or blocked_until < due) then due = math.ceil(blocked_until) end
  if #owned / 2 < asked then
    reply[3] = due
    redis.call('ZADD', sleepers_key, now_ms, worker_id)
  elseif due > 0 then
    wake_one() -- this one may have no slot by then: another must know of it
  end
end
return reply
