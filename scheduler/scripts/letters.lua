-- letters: look through a tenant's dead letters, without their payloads. Writes nothing, looks at a bounded
-- number: call again from the cursor.
--
-- @keys dead
-- @argv tenant:str order:str after:str last:str most:int action_id:str action_type:str reason:str since_ms:int until_ms:int
--       order: 'newest' or 'oldest' first; after: the cursor, '' to begin; last: the newest letter to look at,
--       '+' for all; action_id, action_type (a '*' at its end: any that begins so), reason (found anywhere in
--       it, in small letters): '' for any
-- @include letters
-- REPLY: {cursor ('' at the end), (letter, tier, at, reason, attempt, head, bytes of data)*}

local key = dead_prefix .. tenant
local beyond = after ~= '' and '(' .. after
local entries
if order == 'newest' then
  entries = redis.call('XREVRANGE', key, beyond or last, '-', 'COUNT', most)
else
  entries = redis.call('XRANGE', key, beyond or '-', last, 'COUNT', most)
end

local prefix = string.match(action_type, '^(.*)%*$')
local function fits(letter)
  local at = tonumber(letter.at)
  if at < since_ms or at > until_ms then return false end
  local id, type_of = string.match(letter.head, '^v1 (%S+) %d+ (%S+) ')
  if action_id ~= '' and id ~= action_id then return false end
  if prefix then
    if string.sub(type_of or '', 1, #prefix) ~= prefix then return false end
  elseif action_type ~= '' and type_of ~= action_type then
    return false
  end
  return reason == '' or string.find(string.lower(letter.reason), reason, 1, true) ~= nil
end

local reply = {#entries == most and entries[#entries][1] or ''}
for _, entry in ipairs(entries) do
  local letter = read_letter(entry)
  if letter.at and letter.head and letter.data and fits(letter) then
    reply[#reply + 1] = entry[1]
    for _, name in ipairs({'tier', 'at', 'reason', 'attempt', 'head'}) do reply[#reply + 1] = letter[name] or '' end
    reply[#reply + 1] = #letter.data
  end
end
return reply
