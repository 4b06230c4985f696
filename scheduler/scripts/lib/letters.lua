-- @keys dead dead_tenants counters

-- The fields of a dead letter by their names.
local function read_letter(entry)
  local letter = {}
  for i = 1, #entry[2], 2 do letter[entry[2][i]] = entry[2][i + 1] end
  return letter
end

-- A tenant without dead letters is forgotten.
local function forget_if_empty(tenant)
  local key = dead_prefix .. tenant
  if redis.call('XLEN', key) == 0 then
    redis.call('DEL', key)
    redis.call('ZREM', dead_tenants_key, tenant)
  end
end

-- Delete letters for good, {entry id, tier} each; the same one may be named twice. Returns how many went.
local function drop(tenant, letters)
  local counts, dropped = {}, 0
  for _, letter in ipairs(letters) do
    if redis.call('XDEL', dead_prefix .. tenant, letter[1]) == 1 then
      dropped = dropped + 1
      counts[letter[2]] = (counts[letter[2]] or 0) + 1
    end
  end
  forget_if_empty(tenant)
  for tier, count in pairs(counts) do redis.call('HINCRBY', counters_key, tier .. ':discarded', count) end
  return dropped
end
