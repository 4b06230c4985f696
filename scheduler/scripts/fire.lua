-- fire: due times of one schedule become actions, exactly once: only if nobody fired or changed it meanwhile.
-- The next due time is set and the actions are put in line, as `enqueue` does it, in this one step.
--
-- @keys schedules schedules_due schedules_fired schedules_history backfills
-- @argv period:str period_before:str now:str backfill:str schedule_id:str revision:str expected_ms:int next_ms:str fired:str due:str actions:rest
--       backfill: '' for the schedule's own due times, else the backfill; next_ms: '' for never;
--       fired: the last of these due times, when it was fired and its action's id; due: all
--       of them, six bytes each; actions: as for `enqueue`
-- @wraps enqueue
-- REPLY: 0 (somebody else was faster), or what `enqueue` says of the actions. Of a backfill whose only action
--        may not overlap with another that is alive: '=<that>', and the backfill stays where it is

local KEPT = 6 * 1000

-- Whether the n-th due time has become its action, now or before.
local function fired_one(n, answer)
  if answer == 1 or answer == 0 or string.sub(answer, 1, 1) == '+' then return true end
  return string.match(answer, '^=(%S+)') == ARGV[actions_at + (n - 1) * 4 + 1]
end

local record = redis.call('HGET', schedules_key, schedule_id)
if not record or string.match(record, '^%d+') ~= revision then return 0 end
local cursors_key, cursor = schedules_due_key, schedule_id
if backfill ~= '' then cursors_key, cursor = backfills_key, backfill end
if tonumber(redis.call('ZSCORE', cursors_key, cursor) or nil) ~= expected_ms then return 0 end

local said = {}
if actions_at <= #ARGV then said = enqueue() end
if said == 1 or type(said) == 'string' and string.sub(said, 1, 1) == '+' then said = {said} end
if type(said) ~= 'table' or said[1] == 'periods' or said[1] == 'zones' then return said end -- nothing was written
if backfill ~= '' and #said == 1 and string.sub(said[1], 1, 1) == '=' and not fired_one(1, said[1]) then return said end
local history = {}
for n, answer in ipairs(said) do
  if fired_one(n, answer) then history[#history + 1] = string.sub(due, 6 * n - 5, 6 * n) end
end
if #history > 0 then
  local all = (redis.call('HGET', schedules_history_key, schedule_id) or '') .. table.concat(history)
  redis.call('HSET', schedules_history_key, schedule_id, string.sub(all, -KEPT))
end
if next_ms == '' then
  redis.call('ZREM', cursors_key, cursor)
else
  redis.call('ZADD', cursors_key, next_ms, cursor)
end
if #said > 0 and backfill == '' then
  redis.call('HSET', schedules_fired_key, schedule_id, fired .. ' ' .. tostring(said[#said]))
end
return said
