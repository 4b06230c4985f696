-- Rate limits and quotas; the oracle is scheduler/limits.py, which explains the rules.
-- A limit is {name, strategy, amount, window_ms, period, key}; a period is {start_ms, end_ms}. States are kept
-- under the key, which does not tell the amount: what was used counts on when that changes.

local WIDTH = 6 -- bytes of one remembered start, big-endian milliseconds

local function start_at(starts, index)
  return (struct.unpack('>I6', starts, (index - 1) * WIDTH + 1))
end

-- First index (from 1, oldest first) whose start lies at or after `since`.
local function first_since(starts, since)
  if starts == '' or start_at(starts, 1) >= since then return 1 end -- nearly always: spending forgets what is older
  local low, high = 2, #starts / WIDTH + 1
  while low < high do
    local mid = math.floor((low + high) / 2)
    if start_at(starts, mid) >= since then high = mid else low = mid + 1 end
  end
  return low
end

-- Window index, previous and current count, and how much of the window is left.
local function rolled(limit, state, now)
  local window = limit[4]
  local index = math.floor(now / window)
  local left = window - now % window
  if not state then return index, 0, 0, left end
  if index < state[1] then return state[1], state[2], state[3], window end -- this clock is behind
  if index == state[1] then return index, state[2], state[3], left end
  return index, index == state[1] + 1 and state[3] or 0, 0, left
end

-- Largest remainder of a window at which `previous` weighs less than `room`.
local function remaining_that_frees(limit, previous, room)
  return math.min(limit[4], math.ceil(room * limit[4] / previous) - 1)
end

local ALLOWANCE, SPEND, WORTHLESS_AT = {}, {}, {}

ALLOWANCE['moving-window'] = function(limit, state, now)
  local starts = state or ''
  local first = first_since(starts, now - limit[4])
  local count = #starts / WIDTH
  local left = limit[3] - (count - first + 1)
  local binding = first - math.min(left, 0) -- more starts than the amount: it was lowered
  return left, binding <= count and start_at(starts, binding) + limit[4] + 1 or 0
end

SPEND['moving-window'] = function(limit, state, now, starts)
  local kept = state or ''
  if kept ~= '' then now = math.max(now, start_at(kept, #kept / WIDTH)) end -- this clock is behind
  local first = first_since(kept, now - limit[4])
  if first > 1 then kept = string.sub(kept, (first - 1) * WIDTH + 1) end -- each copy costs the server more than its bytes
  local all = kept .. string.rep(struct.pack('>I6', now), starts)
  return #all > limit[3] * WIDTH and string.sub(all, -limit[3] * WIDTH) or all
end

WORTHLESS_AT['moving-window'] = function(limit, state)
  return start_at(state, #state / WIDTH) + limit[4] + 1
end

ALLOWANCE['fixed-window'] = function(limit, state, now)
  if not state or now >= state[1] then return limit[3], 0 end
  return limit[3] - state[2], state[1]
end

SPEND['fixed-window'] = function(limit, state, now, starts)
  if not state or now >= state[1] then return {now + limit[4], starts} end
  return {state[1], state[2] + starts}
end

WORTHLESS_AT['fixed-window'] = function(_, state) return state[1] end

ALLOWANCE['sliding-window-counter'] = function(limit, state, now)
  local window = limit[4]
  local index, previous, current, remaining = rolled(limit, state, now)
  local left = limit[3] - math.floor(previous * remaining / window) - current
  if left > 0 then return left, 0 end
  local window_end = (index + 1) * window
  if current < limit[3] then
    return 0, window_end - remaining_that_frees(limit, previous, limit[3] - current)
  end
  return 0, window_end + window - remaining_that_frees(limit, current, limit[3])
end

SPEND['sliding-window-counter'] = function(limit, state, now, starts)
  local index, previous, current = rolled(limit, state, now)
  return {index, previous, current + starts}
end

WORTHLESS_AT['sliding-window-counter'] = function(limit, state) return (state[1] + 2) * limit[4] end

ALLOWANCE['calendar'] = function(limit, state, _, period)
  local count = state and state[1] >= period[1] and state[2] or 0
  return limit[3] - count, period[2]
end

SPEND['calendar'] = function(limit, state, _, starts, period)
  if not state or state[1] < period[1] then return {period[1], starts} end
  return {state[1], state[2] + starts}
end

WORTHLESS_AT['calendar'] = function(limit, state, period)
  if state[1] > period[1] then return state[1] + 2 * limit[4] end -- this clock is behind; surely after its end
  return period[2]
end

-- How many starts all of `limits` allow now; for none: when the last binding one frees, and its name.
local function allowance(limits, states, now, periods, wanted)
  local allowed, free_at, why = wanted, 0, nil
  for _, limit in ipairs(limits) do
    local left, frees = ALLOWANCE[limit[2]](limit, states[limit[6]], now, periods[limit[5]])
    if left <= 0 then
      allowed = 0
      if frees >= free_at then free_at, why = frees, limit[1] end
    elseif left < allowed then
      allowed = left
    end
  end
  return allowed, free_at, why
end

-- Count `starts` against all of `limits` in `states`; returns when the states are worthless.
local function spend(limits, states, now, periods, starts)
  local worthless_at = 0
  for _, limit in ipairs(limits) do
    local period = periods[limit[5]]
    local state = SPEND[limit[2]](limit, states[limit[6]], now, starts, period)
    states[limit[6]] = state
    worthless_at = math.max(worthless_at, WORTHLESS_AT[limit[2]](limit, state, period))
  end
  return worthless_at
end
