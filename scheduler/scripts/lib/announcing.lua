-- @keys notify

-- What clients that wait for responses are told: which are there.

local NOTIFY_KEPT = 10000 -- announcements an absent client may miss: it reads the response lists instead
local NOTIFY_TTL_MS = 60000
local INLINE_RESPONSE = 8192 -- bytes; a larger response is announced by its id alone
local UNREAD = 1000 -- who has so many announcements to read is not waiting for what many more would carry

local function announcement(id, response)
  return id .. '\n' .. (#response <= INLINE_RESPONSE and response or '')
end

-- The largest of `count` responses that are announced to a client inline. Few are not worth the question.
local function inline_to(client, count)
  if count > 10 and redis.call('LLEN', notify_prefix .. client) >= UNREAD then return -1 end
  return INLINE_RESPONSE
end

-- A client's list has been pushed to, and has `length` now (nil: unknown).
local function announced(client, length)
  local list = notify_prefix .. client
  if not length or length > NOTIFY_KEPT then redis.call('LTRIM', list, -NOTIFY_KEPT, -1) end
  redis.call('PEXPIRE', list, NOTIFY_TTL_MS)
end
