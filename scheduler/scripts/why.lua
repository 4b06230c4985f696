-- why: everything that says why an action has not started yet, as it is at one moment. Writes nothing.
--
-- @keys actions done scheduled delayed workers worker_info owned sleepers waiting ready held held_why returned pauses backpressure
-- @argv now_ms:int duplicate_window_ms:int id:str periods:rest
--       periods: (name, start_ms, end_ms)* of the calendar periods that contain now_ms
-- @include look
-- @include running
-- @include outlook
-- @include place
-- @include attempts
-- REPLY: {'ok', facts as JSON}; scheduler/why_facts.py names them. Or {'periods', name*}: call again with these

local COUNTED = 1000 -- entries of its line that one call looks at; `place` goes on
local TENANTS = 200 -- of each tier

local facts = {}
local place = redis.call('HGET', actions_key, id)
if not place then
  local period = math.floor(now_ms / duplicate_window_ms)
  facts.ended = redis.call('HGET', done_prefix .. period, id) or redis.call('HGET', done_prefix .. (period - 1), id)
    or nil
  return {'ok', cjson.encode(facts)}
end

local policy, periods = read_policy(periods_at)
if not policy and periods[1] == 'periods' then return periods end
policy = policy or {tiers = {}, limits = {}, missing = true}
facts.no_policy = policy.missing

local stream, entry, aside_type = string.match(place, '^(%S+) (%S+) ?(%S*)$')
facts.aside_type = aside_type ~= '' and aside_type or nil
local key = domain_tag .. stream
local tenant, tier_name = split_stream(stream)
facts.stream, facts.now_ms = stream, now_ms
facts.due_ms = tonumber(redis.call('ZSCORE', scheduled_key, id) or nil)
facts.failed = attempt_lines(redis.call('HGET', attempts_key, id) or nil)

-- Its header, and what its group knows of it.
if entry == '-' then
  local delayed = redis.call('HGET', delayed_key, id)
  facts.head = delayed and cmsgpack.unpack(delayed)[1]
else
  local found = try('XRANGE', key, entry, entry)
  facts.head = found and found[1] and found[1][2][2]
  local delivered = try('XPENDING', key, 'workers', entry, entry, 1)
  delivered = delivered and delivered[1]
  if delivered then facts.consumer, facts.idle_ms, facts.deliveries = delivered[2], delivered[3], delivered[4] end
end

-- Who works here, and who of them owns it.
local workers = redis.call('ZRANGE', workers_key, 0, -1, 'WITHSCORES')
facts.workers, facts.dead_workers, facts.sleepers = 0, 0, redis.call('ZCARD', sleepers_key)
facts.claiming, facts.handles = 0, {}
local of_type = facts.head and rest_of_head(facts.head)
local others_handle -- does every worker that claims say what it handles, and none this type?
for i = 1, #workers, 2 do
  local alive = tonumber(workers[i + 1]) >= now_ms
  facts[alive and 'workers' or 'dead_workers'] = facts[alive and 'workers' or 'dead_workers'] + 1
  local info = alive and cjson.decode(redis.call('HGET', worker_info_key, workers[i]) or '{}')
  if info and (info.state or 'running') == 'running' then
    facts.claiming = facts.claiming + 1
    if others_handle == nil then others_handle = true end
    others_handle = others_handle and type(info.handles) == 'table'
    for _, name in ipairs(info.handles or {}) do
      if name == of_type then others_handle = false end
      facts.handles[#facts.handles + 1] = name
    end
  end
  local record = entry ~= '-' and redis.call('HGET', owned_prefix .. workers[i], id)
  if record then
    facts.owner, facts.lease_until_ms = workers[i], tonumber(workers[i + 1])
    facts.attempt = tonumber(string.match(record, '^%d+ %S+ %S+ (%d+)'))
  end
end
facts.unhandled = of_type and others_handle or nil
if facts.owner then return {'ok', cjson.encode(facts)} end

-- Its tenant's line, and its place in it.
facts.waiting = tonumber(redis.call('HGET', waiting_key, stream) or 0)
facts.held_until = redis.call('ZSCORE', held_key, stream) or nil
facts.held_why = redis.call('HGET', held_why_key, stream) or nil
facts.running = running_of_tenant(tenant, policy.tiers)
if entry ~= '-' and not facts.due_ms and aside_type == '' then
  local rank = redis.call('ZRANK', returned_prefix .. stream, sortable(entry))
  if rank then
    facts.ahead, facts.reached = rank, ''
  else
    local group = try('XINFO', 'GROUPS', key)
    local last = '0-0'
    for i = 1, group and group[1] and #group[1] or 0, 2 do
      if group[1][i] == 'last-delivered-id' then last = group[1][i + 1] end
    end
    local count
    count, facts.reached = count_between(key, last, entry, COUNTED)
    facts.ahead, facts.entry = redis.call('ZCARD', returned_prefix .. stream) + count, entry
  end
end

-- Who paused what of it, and to what of it a handler said not now: {what, JSON}*, {scope, until_ms}*.
local action_type = facts.head and rest_of_head(facts.head) or ''
facts.paused, facts.pressed = {}, {}
for _, what in ipairs({'domain', 'tier:' .. tier_name, 'type:' .. action_type}) do
  local said = redis.call('HGET', pauses_key, what)
  if said then facts.paused[#facts.paused + 1] = {what, said} end
end
local scopes = {stream, '*:' .. tier_name, '*'}
for _, each in ipairs(policy.named or {}) do
  for _, name in ipairs(each.types) do
    if name == action_type then scopes[#scopes + 1] = '@' .. each.name end
  end
end
for _, scope in ipairs(scopes) do
  local until_ms = tonumber(redis.call('ZSCORE', backpressure_key, scope) or 0)
  if until_ms > now_ms then facts.pressed[#facts.pressed + 1] = {scope, until_ms} end
end

-- The tenants of a tier in their order: {tenant, tag, waiting}*, and how many there are.
local function line_up(name)
  local heads, scopes, list = redis.call('ZRANGE', ready_prefix .. name, 0, TENANTS - 1, 'WITHSCORES'), {}, {}
  for i = 1, #heads, 2 do scopes[#scopes + 1] = heads[i] .. ':' .. name end
  local counts = #scopes > 0 and redis.call('HMGET', waiting_key, unpack(scopes)) or {}
  for i = 1, #scopes do list[i] = {heads[2 * i - 1], heads[2 * i], tonumber(counts[i] or 0)} end
  return {name = name, tenants = redis.call('ZCARD', ready_prefix .. name), first = list}
end

-- Its tier, the tiers before it, and what limits say.
facts.tiers, facts.limits = {}, {}
for at, tier in ipairs(policy.tiers) do
  local line = line_up(tier.name)
  line.share, line.weight = tier.share, tier.weight
  facts.tiers[at] = line
  if tier.name == tier_name then
    local rules = rules_of(tier, tenant)
    local ask = ask_for_periods(rules.limits, periods, policy.periods)
    if ask then return ask end
    if rules.paused then facts.paused[#facts.paused + 1] = {'tenant:' .. tenant, rules.paused} end
    facts.tier_at, facts.concurrency, facts.own_rules = at, rules.concurrency, rules.own
    add_standings(facts.limits, 'tenant', rules.limits, states_of(stream), now_ms, periods)
    add_shared_standings(facts.limits, policy, tier, action_type, now_ms, periods)
    local retried = facts.due_ms and entry ~= '-'
    local from = math.max(now_ms, retried and facts.due_ms or 0, tonumber(facts.held_until) or 0)
    local nth = retried and 1 or (facts.ahead or facts.waiting) + 1
    if from < math.huge then
      facts.allowed_at, facts.allowed_exact, facts.allowed_by =
        nth_start_at(rules.limits, states_of(stream), periods, from, nth)
      -- Those before it in its line use what its tier and domain may start together, and so do others.
      for _, shared in ipairs({{tier.tier_limits or {}, '*:' .. tier_name}, {policy.limits, '*'}}) do
        local free_at, exact, by = nth_start_at(shared[1], states_of(shared[2]), periods, from, nth)
        if free_at > facts.allowed_at then
          facts.allowed_at, facts.allowed_by = free_at, by
          facts.allowed_exact = nth > 1 and 0 or exact
        end
      end
    end
  end
end
facts.tag = redis.call('ZSCORE', ready_prefix .. tier_name, tenant) or nil
facts.rank = redis.call('ZRANK', ready_prefix .. tier_name, tenant) or nil
return {'ok', cjson.encode(facts)}
