-- @include limits

-- Where a sliding window counter gives back its next start while it still has some left.
local function sliding_more_at(limit, state, now)
  local window = limit[4]
  local index, previous, current, remaining = rolled(limit, state, now)
  local window_end, weight = (index + 1) * window, math.floor(previous * remaining / window)
  if weight > 0 then return window_end - remaining_that_frees(limit, previous, weight) end
  if current > 0 then return window_end + window - remaining_that_frees(limit, current, current) end
  return 0
end

-- How many starts a limit still allows, when it will allow more than now, and when all of it is back.
-- Both times are 0 when nothing is used. The oracle is `standing` in scheduler/limits.py.
local function standing(limit, state, now, period)
  local left, more_at = ALLOWANCE[limit[2]](limit, state, now, period)
  left = math.max(left, 0)
  if left == limit[3] then return left, 0, 0 end
  if more_at == 0 then more_at = sliding_more_at(limit, state, now) end
  return left, more_at, WORTHLESS_AT[limit[2]](limit, state, period)
end
