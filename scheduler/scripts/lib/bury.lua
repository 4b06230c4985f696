-- @keys cancel_asked dead dead_tenants actions counters parents children
-- @include stream
-- @include attempts

local DEAD_LETTERS_AT_MOST = 200000 -- per tenant, the oldest go first; maintenance keeps fewer (see prune)

-- Write a dead letter: `attempts` are lines of JSON. The entry itself is acknowledged and deleted by the caller.
local function bury(stream, now, reason, attempt, head, data, attempts)
  local tenant, tier = split_stream(stream)
  redis.call('XADD', dead_prefix .. tenant, 'MAXLEN', '~', DEAD_LETTERS_AT_MOST, '*', 'tier', tier,
    'at', now, 'reason', reason, 'attempt', attempt, 'head', head or '', 'data', data or '', 'attempts', attempts or '')
  redis.call('ZADD', dead_tenants_key, now, tenant)
end

-- An action whose entry (or `what` there was of it) somebody else deleted: nothing is left that could run again.
local function bury_lost(id, stream, now, attempt, what)
  bury(stream, now, 'the ' .. (what or 'stream entry') .. ' of action ' .. id .. ' was deleted by somebody else', attempt,
    nil, nil, attempt_lines(redis.call('HGET', attempts_key, id)))
  local _, tier = split_stream(stream)
  redis.call('HDEL', actions_key, id)
  redis.call('HDEL', attempts_key, id)
  redis.call('SREM', cancel_asked_key, id)
  if redis.call('SREM', parents_key, id) == 1 then redis.call('DEL', children_prefix .. id) end
  redis.call('HINCRBY', counters_key, tier .. ':dead', 1)
end
