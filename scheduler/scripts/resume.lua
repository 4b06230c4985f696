-- resume: what was paused, or what handlers said not now to; a sleeping worker is woken. What was set aside of an
-- action type comes back to the head of its lines, a bounded number per call: call again while some is left.
--
-- @keys pauses backpressure operations
-- @argv now_ms:int what:str scope:str most:int by:str why:str
--       what: see `pause`; scope: of the same in `backpressure`, '' for none
-- @include aside
-- @include operations
-- @include wake
-- REPLY: {1 (it was paused) or 0, given back, 1 (some is left) or 0}

local pressed = scope ~= '' and redis.call('ZREM', backpressure_key, scope) or 0
local pause = redis.call('HGET', pauses_key, what)
local action_type = string.match(what, '^type:(.*)$')
if pause then
  redis.call('HDEL', pauses_key, what)
  if action_type then redis.call('HSET', pauses_key, 'resuming:' .. action_type, pause) end
end
local given_back, left = 0, false
if action_type and redis.call('HEXISTS', pauses_key, 'resuming:' .. action_type) == 1 then
  given_back, left = give_back_aside(action_type, most)
end
local ended = (pause or pressed == 1) and 1 or 0
if ended == 1 then note_operation(now_ms, by, why, 'resume ' .. what) end
if ended == 1 or given_back > 0 then wake_one() end
return {ended, given_back, left and 1 or 0}
