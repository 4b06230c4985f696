-- @keys held held_why

local holds, anybody_held = {}, nil

-- Why an action may not wait whose tenant is held until later than it may start; nothing where it may.
local function too_late(stream, head, now)
  if string.find(head, '^v1 %S+ 0 ') then return nil end -- no deadline
  if anybody_held == nil then anybody_held = redis.call('EXISTS', held_key) == 1 end
  local deadline = anybody_held and tonumber(string.match(head, '^v1 %S+ (%d+)')) or 0
  if deadline == 0 then return nil end
  if holds[stream] == nil then holds[stream] = redis.call('ZSCORE', held_key, stream) or false end
  local held_until = holds[stream]
  if not held_until or held_until == 'inf' then return nil end
  held_until = math.ceil(tonumber(held_until))
  if held_until > now and deadline <= held_until then
    return '!deadline ' .. (held_until - now) .. ' ' .. (redis.call('HGET', held_why_key, stream) or '')
  end
end
