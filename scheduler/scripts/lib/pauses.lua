-- @keys pauses backpressure overrides returned_count
-- @include aside
-- @include candidates
-- @include backpressure

-- What operators paused and what handlers said not now to. Without any of it this costs one command.

local paused = {domain = false, tiers = {}, types = {}}
local some_type_paused = false
local resuming_type -- one of the types whose entries are coming back

local function read_pauses()
  local fields = redis.call('HGETALL', pauses_key)
  for i = 1, #fields, 2 do
    local kind, name = string.match(fields[i], '^(%l+):?(.*)$')
    if kind == 'domain' then paused.domain = true
    elseif kind == 'tier' then paused.tiers[name] = true
    else
      paused.types[name] = kind -- 'type': all of them stay aside; 'resuming': new ones go behind those there
      some_type_paused = true
      if kind == 'resuming' then resuming_type = name end
    end
  end
end

local function read_what_is_said(now)
  local keys = {overrides_key, pauses_key, backpressure_key, returned_count_key}
  if redis.call('EXISTS', unpack(keys)) == 0 then return end
  some_overridden = redis.call('EXISTS', overrides_key) == 1
  read_pauses()
  forget_backpressure(now)
  some_pressed = redis.call('EXISTS', backpressure_key) == 1
  if resuming_type then
    local _, left = give_back_aside(resuming_type, 100)
    if not left then
      paused.types[resuming_type] = nil
      resuming_type = nil
    end
  end
  some_returned = redis.call('EXISTS', returned_count_key) == 1
end

-- Until when handlers said not now for a scope wider than a tenant; 0: nobody did.
local function pressed_until(scope, now)
  local until_ms = some_pressed and tonumber(redis.call('ZSCORE', backpressure_key, scope) or 0) or 0
  return until_ms > now and until_ms or 0
end
