-- fire: due times of one schedule become actions, exactly once: only if nobody fired or changed it meanwhile.
-- The next due time is set and the actions are put in line, as `enqueue` does it, in this one step.
--
-- @keys schedules schedules_due schedules_fired backfills
-- @argv now_ms:int duplicate_window_ms:int periods_now:str backfill:str schedule_id:str revision:str expected_ms:int next_ms:str fired:str actions:rest
--       backfill: '' for the schedule's own due times, else the backfill; next_ms: '' for never;
--       fired: the last of these due times, when it was fired and its action's id; actions: as for `enqueue`
-- @wraps enqueue
-- REPLY: 0 (somebody else was faster), or what `enqueue` says of the actions

local record = redis.call('HGET', schedules_key, schedule_id)
if not record or string.match(record, '^%d+') ~= revision then return 0 end
local cursors_key, cursor = schedules_due_key, schedule_id
if backfill ~= '' then cursors_key, cursor = backfills_key, backfill end
if tonumber(redis.call('ZSCORE', cursors_key, cursor) or nil) ~= expected_ms then return 0 end

local said = {}
if actions_at <= #ARGV then said = enqueue() end
if type(said) ~= 'table' or said[1] == 'periods' then return said end -- nothing was written
if next_ms == '' then
  redis.call('ZREM', cursors_key, cursor)
else
  redis.call('ZADD', cursors_key, next_ms, cursor)
end
if #said > 0 and backfill == '' then
  redis.call('HSET', schedules_fired_key, schedule_id, fired .. ' ' .. tostring(said[#said]))
end
return said
