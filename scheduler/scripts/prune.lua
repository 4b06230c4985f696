-- prune: a tenant's oldest dead letters go when they are too old or too many; a bounded number.
--
-- @keys dead
-- @argv tenant:str before_ms:int keep:int most:int
-- @include letters
-- REPLY: how many went; `most`: there may be more

local too_many = redis.call('XLEN', dead_prefix .. tenant) - keep
local gone = {}
for i, entry in ipairs(redis.call('XRANGE', dead_prefix .. tenant, '-', '+', 'COUNT', most)) do
  local letter = read_letter(entry)
  if i > too_many and tonumber(letter.at or 0) >= before_ms then break end
  gone[#gone + 1] = {entry[1], letter.tier or '-'}
end
return drop(tenant, gone)
