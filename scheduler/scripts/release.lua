-- release: give back what was claimed and not run; no attempt is spent, it is next in its tenant's line.
--
-- @keys owned sleepers cancelling
-- @argv now_ms:int worker_id:str items:rest
--       items: (id, token)*
-- @include owned
-- @include returned
-- @include bury
-- @include wake
-- @include run_time
-- REPLY: how many were still owned and are back

local ids = {}
for i = items_at, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
local records = redis.call('HMGET', owned_prefix .. worker_id, unpack(ids))

local by_stream, given_back, freed, refunds = {}, {}, {}, {}
for n, id in ipairs(ids) do
  if records[n] then
    local token, stream, entry, attempt = parse_owned(records[n])
    if token == ARGV[items_at + (n - 1) * 2 + 1] then
      if park(stream, entry, tonumber(attempt) - 1) then
        group(by_stream, stream, entry)
      else
        bury_lost(id, stream, now_ms, attempt)
      end
      freed[stream] = true
      local charge = parse_charge(records[n])
      if charge then refunds[stream] = (refunds[stream] or 0) - tonumber(charge) end
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
redis.call('ZREM', sleepers_key, worker_id) -- it gives work away: wake somebody else
wake_one()
return #given_back
