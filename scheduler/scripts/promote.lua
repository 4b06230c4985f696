-- promote: make due work ready, end holds whose limit has freed, forget usage that says nothing any more.
--
-- @keys usage usage_due
-- @argv now_ms:int most:int
-- @include promote
-- @include wake
-- @include backpressure
-- REPLY: {moved, next_due_ms}

if redis.call('EXISTS', scheduled_key, held_key, backpressure_key, usage_due_key) == 0 then return {0, 0} end
local moved = promote_due(now_ms, most)
local ended = end_due_holds(now_ms, most)
if moved + ended > 0 then wake_one() end

forget_backpressure(now_ms)
local stale = redis.call('ZRANGEBYSCORE', usage_due_key, '-inf', now_ms, 'LIMIT', 0, most)
if #stale > 0 then
  write_all('HDEL', usage_key, stale)
  write_all('ZREM', usage_due_key, stale)
end
return {moved + ended, next_due()}
