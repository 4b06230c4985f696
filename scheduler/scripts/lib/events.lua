-- @keys events

local CALLS_KEPT = 20000 -- entries: one per script call
local LINES_KEPT = 40000 -- about so many lines, some megabytes, where calls have many to tell

-- One entry for all that this call has to tell: lines of `outcome …`, `hold …` or `backpressure …`. `count`: at least
-- how many there are, where some come joined.
local function tell(lines, count)
  if #lines == 0 then return end
  local kept = math.max(math.min(CALLS_KEPT, math.floor(LINES_KEPT / math.max(#lines, count or 0))), 100)
  redis.call('XADD', events_key, 'MAXLEN', '~', kept, '*', 'lines', table.concat(lines, '\n'))
end
