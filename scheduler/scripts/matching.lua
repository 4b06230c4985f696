-- matching: one page of the actions that are not over, filtered. Writes nothing.
--
-- @keys actions delayed
-- @argv cursor:str most:int tenant:str tier:str action_type:str
--       '' for any
-- @include stream
-- REPLY: {next cursor ('0': that was the last page), (id, type, tenant:tier)*}

local next_cursor, fields = unpack(redis.call('HSCAN', actions_key, cursor, 'COUNT', most))
local reply = {next_cursor}
for i = 1, #fields, 2 do
  local id, place = fields[i], fields[i + 1]
  local stream, entry = string.match(place, '^(%S+) (%S+)')
  local of_tenant, of_tier
  if stream then of_tenant, of_tier = split_stream(stream) end
  if stream and (tenant == '' or of_tenant == tenant) and (tier == '' or of_tier == tier) then
    local head
    if entry == '-' then
      local packed = redis.call('HGET', delayed_key, id)
      head = packed and cmsgpack.unpack(packed)[1]
    else
      local found = try('XRANGE', domain_tag .. stream, entry, entry)
      head = found and found[1] and found[1][2][2]
    end
    local of_type = head and string.match(head, '^v1 %S+ %S+ (%S+)') or ''
    if action_type == '' or of_type == action_type then
      for _, value in ipairs({id, of_type, stream}) do reply[#reply + 1] = value end
    end
  end
end
return reply
