-- @keys events events_told events_marks

local MARK_BYTES = 131072 -- the entry with which so much more has been told is marked,
local MARKS_KEPT = 40 -- and what is older than so many marks goes: 5 MB stay, however calls share them

-- One entry for all that this call has to tell: lines of `outcome …`, `hold …` or `backpressure …`.
local function tell(lines)
  if #lines == 0 then return end
  local text = lines[2] and table.concat(lines, '\n') or lines[1]
  local entry = redis.call('XADD', events_key, '*', 'lines', text)
  local told = redis.call('INCRBY', events_told_key, #text)
  if told % MARK_BYTES >= #text then return end
  local passed = math.floor(told / MARK_BYTES) - math.floor((told - #text) / MARK_BYTES)
  local marks = 0
  for _ = 1, math.min(passed, MARKS_KEPT + 1) do marks = redis.call('RPUSH', events_marks_key, entry) end
  if marks <= MARKS_KEPT then return end
  local oldest = redis.call('LINDEX', events_marks_key, -MARKS_KEPT - 1)
  redis.call('LTRIM', events_marks_key, -MARKS_KEPT, -1)
  redis.call('XTRIM', events_key, 'MINID', '~', oldest)
end
