-- register: what one domain knows of its tenants: their tiers, and who takes no new work.
--
-- @keys registry operations
-- @argv now_ms:int by:str why:str did:str items:rest
--       items: (tenant, tier, drain)*; tier '-' for none, drain '1' or '0', and '=' for what stays as it is
-- @include operations
-- REPLY: how many registrations have changed

local tenants = {}
for i = items_at, #ARGV, 3 do tenants[#tenants + 1] = ARGV[i] end
local known, written, gone = redis.call('HMGET', registry_key, unpack(tenants)), {}, {}
for n, tenant in ipairs(tenants) do
  local old_tier, old_drain = string.match(known[n] or '-', '^(%S+) ?(.*)$')
  local tier, drain = ARGV[items_at + (n - 1) * 3 + 1], ARGV[items_at + (n - 1) * 3 + 2]
  if tier == '=' then tier = old_tier end
  if drain == '=' then drain = old_drain == 'drain' and '1' or '0' end
  local record = tier .. (drain == '1' and ' drain' or '')
  if record == '-' then
    if known[n] then gone[#gone + 1] = tenant end
  elseif record ~= known[n] then
    written[#written + 1] = tenant
    written[#written + 1] = record
  end
end
if #gone > 0 then redis.call('HDEL', registry_key, unpack(gone)) end
if #written > 0 then redis.call('HSET', registry_key, unpack(written)) end
local changed = #gone + #written / 2
if changed > 0 then note_operation(now_ms, by, why, did) end
return changed
