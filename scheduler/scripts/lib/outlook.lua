-- @include limits

local MOST_STEPS = 300

-- A calendar quota whose period ends by then begins anew; the period after is as long as the quota's window.
local function roll_over(limits, periods, at)
  local rolled_over = false
  for _, limit in ipairs(limits) do
    local period = periods[limit[5]]
    if limit[2] == 'calendar' and at >= period[2] then
      periods[limit[5]] = {period[2], period[2] + limit[4]}
      rolled_over = true
    end
  end
  return rolled_over
end

-- When the `nth` start from `at` on is allowed if slots are always free, 1 when that is exact (0: it is not
-- before that), and the limit that it waits for last. Spends in `states` and `periods`, which must be the caller's own.
local function nth_start_at(limits, states, periods, at, nth)
  local own_periods, ends, waits_for = {}, 0, nil
  for name, period in pairs(periods) do own_periods[name] = period end
  for _ = 1, MOST_STEPS do
    if roll_over(limits, own_periods, at) then ends = ends + 1 end
    local allowed, free_at, why = allowance(limits, states, at, own_periods, nth)
    if allowed > 0 then
      nth = nth - allowed
      if nth <= 0 then return at, ends > 1 and 0 or 1, waits_for end
      spend(limits, states, at, own_periods, allowed)
    else
      at, waits_for = free_at, why
    end
  end
  return at, 0, waits_for
end
