-- outcomes: what the event stream still tells of one action, newest first. Writes nothing.
--
-- @keys events
-- @argv action_id:str before:str most:int
-- REPLY: {the event entry reached or '' at the beginning, (line)*}

local entries = redis.call('XREVRANGE', events_key, before, '-', 'COUNT', most)
local reply, id = {''}, ' ' .. action_id .. ' '
if #entries == most then reply[1] = entries[most][1] end
for _, entry in ipairs(entries) do
  if string.find(entry[2][2], id, 1, true) then
    for line in string.gmatch(entry[2][2], '[^\n]+') do
      if string.match(line, '^outcome %d+ (%S+)') == action_id then reply[#reply + 1] = line end
    end
  end
end
return reply
