-- heads: since when the next action of each line is ready: how long the line has waited. Writes nothing.
--
-- @keys returned
-- @argv streams:rest
-- @include stream
-- REPLY: per stream the time (ms) since which its next action is ready, 0 when nothing waits in it

local function next_of(stream)
  local key = domain_tag .. stream
  local returned = redis.call('ZRANGE', returned_prefix .. stream, 0, 0)[1]
  if returned then
    local entry = unsortable(returned)
    return try('XRANGE', key, entry, entry)
  end
  local group = try('XINFO', 'GROUPS', key)
  for i = 1, group and group[1] and #group[1] or 0, 2 do
    if group[1][i] == 'last-delivered-id' then
      return try('XRANGE', key, '(' .. group[1][i + 1], '+', 'COUNT', 1)
    end
  end
end

local reply = {}
for i = streams_at, #ARGV do
  local found = next_of(ARGV[i])
  local _, ready_since = rest_of_head(found and found[1] and found[1][2][2] or '')
  reply[#reply + 1] = tonumber(ready_since or 0)
end
return reply
