-- @keys events

local EVENTS_KEPT = 20000 -- script calls, not actions

-- One entry for all that this call has to tell: lines of `outcome …` or `hold …`.
local function tell(lines)
  if #lines > 0 then
    redis.call('XADD', events_key, 'MAXLEN', '~', EVENTS_KEPT, '*', 'lines', table.concat(lines, '\n'))
  end
end
