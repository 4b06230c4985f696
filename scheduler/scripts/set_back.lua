-- set_back: the clock was ahead and has been set back. Forget the starts that limits count at times which have not come,
-- and what handlers said by that clock. A bounded number per call: call again with the cursor until it is 0.
--
-- @keys usage usage_due backpressure
-- @argv now_ms:int cursor:str most:int step_ms:int
--       step_ms: what is further ahead than this was written by a clock that was ahead
-- REPLY: {cursor, scopes of which something was forgotten}

-- What is left of the state kept under `name`: its first letter is the strategy, see `Limit.key`.
local function left_of(name, state)
  local strategy, window = string.sub(name, 1, 1), tonumber(string.sub(name, 2))
  if strategy == 'm' then
    local kept = #state
    while kept > 0 and struct.unpack('>I6', state, kept - 5) > now_ms do kept = kept - 6 end
    return kept > 0 and string.sub(state, 1, kept) or nil
  end
  if strategy == 'f' and state[1] > now_ms + window then return nil end
  if strategy == 's' and state[1] > math.floor(now_ms / window) then return nil end
  if strategy == 'c' and state[1] > now_ms then return nil end
  return state
end

-- Whether anything of a scope was forgotten.
local function forget(scope, packed)
  local states, changed = cmsgpack.unpack(packed), false
  for name, state in pairs(states) do
    local left = left_of(name, state)
    if left ~= state then states[name], changed = left, true end
  end
  if not changed then return false end
  if next(states) then
    redis.call('HSET', usage_key, scope, cmsgpack.pack(states))
  else
    redis.call('HDEL', usage_key, scope)
    redis.call('ZREM', usage_due_key, scope)
  end
  return true
end

if cursor == '0' then redis.call('ZREMRANGEBYSCORE', backpressure_key, '(' .. now_ms + step_ms, '+inf') end
local far = redis.call('HSCAN', usage_key, cursor, 'COUNT', most)
local forgotten = 0
for i = 1, #far[2], 2 do
  if forget(far[2][i], far[2][i + 1]) then forgotten = forgotten + 1 end
end
return {far[1], forgotten}
