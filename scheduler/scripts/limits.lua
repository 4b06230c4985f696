-- limits: what is used and left of every limit that binds a tenant's starts. Writes nothing.
-- The figures come from the functions that `claim` decides with.
--
-- @keys waiting held held_why
-- @argv now_ms:int tenant:str tier_name:str periods:rest
--       periods: (name, start_ms, end_ms)* of the calendar periods that contain now_ms
-- @include look
-- @include running
-- REPLY: {'ok', own, concurrency, running, slots_taken, waiting, held_until, held_why,
--         {scope, name, strategy, amount, window_ms, period, left, more_at, full_at}*}
--        running: in this tier, slots_taken: in all of them, what `concurrency` counts; own: 1 when operators have set rules for this tenant; held_until: ms, 'inf' (no time known) or '';
--        scope: 'tenant', 'tier', 'domain' or 'named' (of action types);
--        or {'nopolicy'}, {'notier', name*} (the policy has others), {'periods', name*}: call again with these

local policy, periods = read_policy(periods_at)
if not policy then return periods end

local tier, names = nil, {}
for _, each in ipairs(policy.tiers) do
  names[#names + 1] = each.name
  if each.name == tier_name then tier = each end
end
if not tier then return {'notier', unpack(names)} end

local stream = tenant .. ':' .. tier_name
local rules = rules_of(tier, tenant)
local ask = ask_for_periods(rules.limits, periods, policy.periods)
if ask then return ask end
local held_until = redis.call('ZSCORE', held_key, stream) or ''
local held_why = redis.call('HGET', held_why_key, stream) or ''
if rules.paused then held_until, held_why = 'inf', 'paused' end -- whether a claim has met it yet or not
local reply = {'ok', rules.own, rules.concurrency, running_of(domain_tag .. stream),
  running_of_tenant(tenant, policy.tiers),
  tonumber(redis.call('HGET', waiting_key, stream) or 0),
  held_until, held_why}
add_standings(reply, 'tenant', rules.limits, states_of(stream), now_ms, periods)
add_shared_standings(reply, policy, tier, nil, now_ms, periods)
return reply
