-- release: give back what was claimed and did not run to an end; no attempt is spent, it is next in its tenant's
-- line. What never began gives back what its start was counted and charged; what began keeps it: a start is a start.
--
-- @keys owned sleepers cancelling
-- @argv now_ms:int worker_id:str items:rest
--       items: (id, token, begun)*; begun is 1 or 0
-- @include owned
-- @include returned
-- @include bury
-- @include wake
-- @include run_time
-- @include unspend
-- REPLY: how many were still owned and are back

local SIZE = 3
local ids = {}
for i = items_at, #ARGV, SIZE do ids[#ids + 1] = ARGV[i] end
local records = redis.call('HMGET', owned_prefix .. worker_id, unpack(ids))

-- Read only where it matters: see `unspend`.
local function type_of(stream, entry)
  return function()
    local found = try('XRANGE', domain_tag .. stream, entry, entry)
    local head = found and found[1] and found[1][2][2]
    return head and rest_of_head(head) or ''
  end
end

local by_stream, given_back, freed, refunds, unstarted = {}, {}, {}, {}, {}
for n, id in ipairs(ids) do
  if records[n] then
    local at = items_at + (n - 1) * SIZE
    local token, stream, entry, attempt = parse_owned(records[n])
    if token == ARGV[at + 1] then
      if park(stream, entry, tonumber(attempt) - 1) then
        group(by_stream, stream, entry)
      else
        bury_lost(id, stream, now_ms, attempt)
      end
      freed[stream] = true
      local started_ms, charge = parse_start(records[n])
      if started_ms and started_ms ~= '0' and ARGV[at + 2] == '0' then
        refunds[stream] = (refunds[stream] or 0) - tonumber(charge)
        unstarted[#unstarted + 1] = {stream, tonumber(started_ms), type_of(stream, entry)}
      end
      given_back[#given_back + 1] = id
    end
  end
end
if #given_back == 0 then return 0 end

write_all('HDEL', owned_prefix .. worker_id, given_back)
write_all('SREM', cancelling_prefix .. worker_id, given_back)
correct_tags(refunds)
put_back(by_stream)
end_concurrency_holds(freed)
unspend(unstarted)
redis.call('ZREM', sleepers_key, worker_id) -- it gives work away: wake somebody else
wake_one()
return #given_back
