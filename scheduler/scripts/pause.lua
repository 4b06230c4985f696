-- pause: a domain, a tier or an action type; nothing of it starts until it is resumed.
--
-- @keys pauses operations
-- @argv now_ms:int what:str pause:str by:str why:str
--       what: 'domain', 'tier:<tier>' or 'type:<action type>'; pause: JSON {by, at_ms, why}
-- @include operations
-- REPLY: 1 (paused), 0 (it was: who and why are kept) or -1 (too many types are paused: every claim reads them)

local MOST = 200
local action_type = string.match(what, '^type:(.*)$')
if action_type and redis.call('HLEN', pauses_key) >= MOST and redis.call('HEXISTS', pauses_key, what) == 0 then
  return -1
end
redis.call('HDEL', pauses_key, 'resuming:' .. (action_type or '')) -- allowed when the server is out of memory
if redis.call('HSETNX', pauses_key, what, pause) == 0 then return 0 end
note_operation(now_ms, by, why, 'pause ' .. what)
return 1
