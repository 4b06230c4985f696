-- @keys attempts

-- What went wrong before with an action that has to start again: how many workers died with it, then a line
-- of JSON per failed attempt, the newest last. Written only when an attempt fails, so that an action which
-- succeeds at first costs nothing here.

local ATTEMPTS_KEPT = 10

-- The history with one more line; and how many workers died.
local function add_attempt(history, line, died)
  local deaths, lines = string.match(history or '', '^(%d+)(.*)$')
  deaths, lines = tonumber(deaths or 0) + died, (lines or '') .. '\n' .. line
  local _, count = string.gsub(lines, '\n', '')
  for _ = ATTEMPTS_KEPT + 1, count do lines = string.match(lines, '^\n[^\n]*(.*)$') end
  return deaths .. lines, deaths
end

-- The lines alone, with that of the last attempt.
local function attempt_lines(history, line)
  if line and line ~= '' then history = add_attempt(history, line, 0) end
  return string.match(history or '', '^%d+\n(.*)$') or ''
end
