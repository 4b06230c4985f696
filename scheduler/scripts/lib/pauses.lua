-- @keys pauses backpressure overrides returned_count
-- @include claim_state
-- @include aside
-- @include backpressure

-- What operators paused and what handlers said not now to.

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
