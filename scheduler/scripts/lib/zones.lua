-- @keys zone_periods

-- Tenants with a time zone of their own: their calendar quotas begin there. The periods are kept on the server, so
-- that a claim carries no more arguments for them; who asks with one that is over is told to write the next one.

-- The same limits in that zone.
local function in_zone(limits, zone)
  local own = {}
  for i, limit in ipairs(limits) do
    if limit[5] ~= '' then
      limit = {unpack(limit)}
      limit[5] = string.gsub(limit[5], '%S+$', zone)
    end
    own[i] = limit
  end
  return own
end

-- Is the period of this name that contains `now` among `periods`, perhaps after a look at what is kept?
local function know_period(name, now, periods)
  if periods[name] then return true end
  local from, till = string.match(redis.call('HGET', zone_periods_key, name) or '', '^(%d+) (%d+)$')
  if not from or tonumber(from) > now or tonumber(till) <= now then return false end
  periods[name] = {tonumber(from), tonumber(till)}
  return true
end
