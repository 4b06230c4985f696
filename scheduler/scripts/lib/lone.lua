-- @keys fairness ready waiting usage usage_due owned sleepers scheduled overrides
-- @include domain_tag
-- @include claim_begun
-- @defer limits allowance spend

-- A claim of the only action that is ready.

-- What the policy says of a tier, where that is no more than a weight, a share and its tenants' limits (JSON).
local function rules_of(tier)
  local _, named_at = string.find(policy_json, '{"name":"' .. tier .. '","share":', 1, true)
  if not named_at then return nil end
  return string.match(policy_json, '^(%d+),"weight":([%d.]+),"limits":(%b[]),'
    .. '"tier_limits":%[%],"concurrency":0,"by_run_time":false}', named_at + 1)
end

-- How often these limits let the line start now; and what counts a start, returning what to write of it.
local function ask_limits(limits_json, stream)
  local packed = redis.call('HGET', usage_key, stream)
  local rules, states, periods = cjson.decode(limits_json), packed and cmsgpack.unpack(packed) or {}, {}
  if states['~'] then return 0 end -- of a time when its tier was fair by run time
  for i = periods_at, #ARGV, 3 do periods[ARGV[i]] = {tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])} end
  local allowance, spend = limits()
  return allowance(rules, states, now_ms, periods, 1), function()
    local worthless_at = spend(rules, states, now_ms, periods, 1)
    redis.call('HSET', usage_key, stream, cmsgpack.pack(states))
    redis.call('ZADD', usage_due_key, 'GT', worthless_at, stream)
  end
end

-- The only entry of a line: its id, its action's id, header and payload. Nil for one that is not to be run just so.
local function read_lone(key)
  local read = redis.pcall('XREADGROUP', 'GROUP', 'workers', 'running', 'COUNT', '2', 'STREAMS', key, '>')
  local entries = read and read[1] and read[1][2]
  if not entries then return nil end
  read_before, read_key = entries, key
  local fields = entries[1][2]
  if entries[2] or not fields or fields[1] ~= 'head' or fields[3] ~= 'data' or fields[5] then return nil end
  local id, deadline_ms = string.match(fields[2], '^v1 ([!-~]+) (%d+) [!-~]+ %d+ [!-~]+ [!-~]+$')
  if not id or #deadline_ms > 16 or #fields[2] > 4000 or deadline_ms ~= '0' and tonumber(deadline_ms) <= now_ms then return nil end
  return entries[1][1], id, fields[2], fields[4]
end

-- Are `others` no more than something due later and overrides of other tenants? Then, too, when that is due; else nil.
local function nothing_of(others, tenant)
  if redis.call('EXISTS', scheduled_key, overrides_key) ~= others then return nil end
  if redis.call('HEXISTS', overrides_key, tenant) == 1 then return nil end
  local due_ms = tonumber(redis.call('ZRANGE', scheduled_key, '0', '0', 'WITHSCORES')[2] or 0)
  if due_ms > 0 and (due_ms <= now_ms or slots == 1) then return nil end -- for one slot, another worker must know of it
  return math.ceil(due_ms)
end

-- The reply; nil: it is not so simple, and the long way goes on with what has been read. Of what was looked for one
-- key and `others` are there: if that is not the index of this line's tier, the line is not found in that.
local function claim_lone(version, fields, stream, others)
  local tenant, tier = string.match(stream, '^([^:]+):([^:]+)$')
  local share, weight, limits_json = rules_of(tier)
  local index = ready_prefix .. tier
  local head = share and redis.call('ZRANGE', index, '0', '1', 'WITHSCORES')
  if not head or head[1] ~= tenant or head[3] then return nil end
  local due_ms = others == 0 and 0 or nothing_of(others, tenant)
  if not due_ms then return nil end
  local count = #fields
  fields[count + 1] = 'vt:' .. tier
  local kept, fairness = redis.call('HMGET', fairness_key, unpack(fields)), {}
  forget_credits(fields, kept, count, fairness)
  if slots == 1 and fairness[1] then return nil end -- with a slot more, all tiers find that they have nothing left
  local allowed, count_start = 1, nil
  if limits_json ~= '[]' then allowed, count_start = ask_limits(limits_json, stream) end
  local entry, id, text, data
  if allowed > 0 then entry, id, text, data = read_lone(domain_tag .. stream) end
  if not entry then return nil end

  local charge, token = math.floor(1000000 / weight), (kept[1] or 0) + 1
  local record = token .. ' ' .. stream .. ' ' .. entry .. ' 1 ' .. ARGV[1] .. ' ' .. charge
  if redis.call('HSETNX', owned_prefix .. worker_id, id, record) == 0 then return nil end -- somebody else's copy
  redis.call('HDEL', waiting_key, stream)
  redis.call('ZREM', index, tenant)
  if count_start then count_start() end
  local at, tag = #fairness, head[2] + charge
  fairness[at + 1], fairness[at + 2] = 'token', token
  if tag > (kept[count + 1] or 0) + 0 then -- the busy period is over: virtual time moves past the only tag
    fairness[at + 3], fairness[at + 4] = fields[count + 1], tag
    fairness[at + 5], fairness[at + 6] = 'credit:' .. tier, '0'
  end
  redis.call('HSET', fairness_key, unpack(fairness))
  if slots > 1 then redis.call('ZADD', sleepers_key, ARGV[1], worker_id) else redis.call('ZREM', sleepers_key, worker_id) end
  return {'ok', token, due_ms, 0, version, stream .. ' 1 1', text, data}
end
