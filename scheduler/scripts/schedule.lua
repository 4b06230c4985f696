-- schedule: create, change, pause, resume or delete one schedule, unless somebody else changed it meanwhile.
--
-- @keys schedules schedules_due schedules_fired schedules_history schedule_owners
-- @argv now_ms:int schedule_id:str known:str record:str next_ms:str most:int by:str why:str did:str
--       known: the revision that was looked at, '' for none; record: what is to stand there, '' for nothing;
--       next_ms: '' for never; most: schedules a domain may have
-- @include operations
-- @include tickers
-- REPLY: 1 (done), 0 (somebody else was faster, or there is one already), -1 (too many schedules)

local present = redis.call('HGET', schedules_key, schedule_id)
if (present and string.match(present, '^%d+') or '') ~= known then return 0 end
if not present and redis.call('HLEN', schedules_key) >= most then return -1 end

if record == '' then
  redis.call('HDEL', schedules_key, schedule_id)
  redis.call('ZREM', schedules_due_key, schedule_id)
  redis.call('HDEL', schedules_fired_key, schedule_id)
  redis.call('HDEL', schedules_history_key, schedule_id)
  redis.call('HDEL', schedule_owners_key, schedule_id)
else
  redis.call('HSET', schedules_key, schedule_id, record)
  local due = tonumber(redis.call('ZSCORE', schedules_due_key, schedule_id) or nil)
  if next_ms == '' then
    redis.call('ZREM', schedules_due_key, schedule_id)
  elseif not due or due > now_ms then -- a due time that has come stays due
    redis.call('ZADD', schedules_due_key, next_ms, schedule_id)
  end
  tell_tickers()
end
note_operation(now_ms, by, why, did)
return 1
