-- stops: what keeps a whole domain, a tier of it or a named limit from starting anything now. Writes nothing.
-- The figures come from the functions that `claim` decides with.
--
-- @keys pauses backpressure
-- @argv now_ms:int periods:rest
--       periods: (name, start_ms, end_ms)* of the calendar periods that contain now_ms
-- @include look
-- REPLY: {'ok', {scope, why, until_ms, said}*}; scope: '*' is the domain, '*:<tier>' a tier, '@<name>' a named
--        limit; why: 'paused', 'backpressure' or the limit that is used up; until_ms: 'inf' where no time is known;
--        said: who paused it and why, JSON {by, at_ms, why}, else ''. Or {'nopolicy'}, {'periods', name*}: call again
--        with these

local policy, periods = read_policy(periods_at)
if not policy then return periods end

local reply = {'ok'}

-- What ends last is told; a pause has no end.
local function look_at(scope, paused_as, limits)
  local said = paused_as and redis.call('HGET', pauses_key, paused_as)
  if said then
    reply[#reply + 1] = {scope, 'paused', 'inf', said}
    return
  end
  local until_ms, why = tonumber(redis.call('ZSCORE', backpressure_key, scope) or 0), 'backpressure'
  local allowed, free_at, limit = allowance(limits, states_of(scope), now_ms, periods, 1)
  if allowed == 0 and free_at > until_ms then until_ms, why = free_at, limit end
  if until_ms > now_ms then reply[#reply + 1] = {scope, why, until_ms, ''} end
end

look_at('*', 'domain', policy.limits)
for _, tier in ipairs(policy.tiers) do look_at('*:' .. tier.name, 'tier:' .. tier.name, tier.tier_limits or {}) end
for _, each in ipairs(policy.named or {}) do look_at('@' .. each.name, nil, each.limits) end
return reply
