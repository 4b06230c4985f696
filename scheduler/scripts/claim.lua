-- claim: which tier, which tenant, what the limits allow; XREADGROUP; ownership recorded in the same step.
-- The algorithm is explained, and tested against this script, in scheduler/fairness.py.
--
-- @keys policy workers sleepers fairness waiting ready tags
-- @keys scheduled held overrides pauses backpressure returned_count cancel_asked
-- @argv now_ms:int worker_id:str slots:int lease_until_ms:int periods:rest
--       periods: (name, start_ms, end_ms)* of the calendar periods that contain now_ms
-- @include domain_tag
-- @include claim_begun
-- @defer lone claim_lone
-- @defer any_claim
-- REPLY: {status, token, next_due_ms, more, policy_version, (run, (head, data)*)*}; run: 'stream attempt how_many';
--        a head begins with '-' where a cancellation was asked for: it is not to be run
--        status: 'ok', 'lost' (worker not registered), 'nopolicy', or {'periods', name*}: call again with these, or
--        {'zones', name*}: write these into `zone_periods` and call again

local lease = redis.call('ZSCORE', workers_key, worker_id)
if not lease then return {'lost'} end
policy_json = redis.call('GET', policy_key)
if not policy_json then return {'nopolicy'} end
if tonumber(lease) < now_ms then
  redis.call('ZREM', workers_key, worker_id) -- allowed when the server is out of memory, then the rest is too
  redis.call('ZADD', workers_key, lease_until_ms, worker_id)
end

-- On a quiet domain a claim goes a short way: where nothing is ready or a single action is, and nothing is due, held,
-- overridden, paused, pressed, given back or to be cancelled, under a policy that has no limits but tenants' own (others
-- than its tenant may be overridden, and something due later). It ends as the long way would; whatever is not so goes the long way. What such a claim costs is mostly what Lua
-- makes anew in each call: functions, tables, text, and all of these from the policy's JSON.
repeat
  local line = redis.call('HRANDFIELD', waiting_key, '2', 'WITHVALUES') -- what is held, too
  if line[3] or (line[2] or '1') ~= '1' then break end
  -- '{"version":1,"tiers":[{"name":"free",…},…],"limits":[],"named":[],"periods":["…",…]}', see CompiledPolicy.to_json
  local version = string.match(policy_json, '^{"version":(%d+),"tiers":%[{"name":')
  local tiers_end, periods_begin = string.find(policy_json, '}],"limits":[],"named":[],"periods":[', 1, true)
  if not version or not tiers_end or slots < 1 then break end
  local known_at = periods_at
  for name in string.gmatch(string.sub(policy_json, periods_begin), '"([^"]+)"') do
    known_at = known_at and ARGV[known_at] == name and known_at + 3
  end
  if not known_at then break end

  local fields, looks, count, at = {'token'}, {
    scheduled_key, held_key, overrides_key, pauses_key, backpressure_key, returned_count_key, cancel_asked_key,
  }, 0, 1
  while true do
    local _, before = string.find(policy_json, '{"name":"', at, true)
    if not before then break end
    at = string.find(policy_json, '"', before + 1, true)
    local name = string.sub(policy_json, before + 1, at - 1)
    count = count + 1
    fields[count + 1] = 'credit:' .. name
    looks[2 * count + 6], looks[2 * count + 7] = tags_prefix .. name, ready_prefix .. name
  end
  local there = redis.call('EXISTS', unpack(looks))
  local reply
  if there == 0 then
    reply = claim_nothing(version + 0, fields)
  elseif line[1] and there < 4 then
    reply = lone()(version + 0, fields, line[1], there - 1)
  end
  if reply then return reply end
until true

return any_claim()
