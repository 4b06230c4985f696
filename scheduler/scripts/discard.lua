-- discard: these dead letters go for good.
--
-- @keys dead
-- @argv now_ms:int by:str why:str did:str tenant:str letters:rest
--       by, why, did: kept among the operators' commands when a letter goes; did '': not
-- @include letters
-- @include operations
-- REPLY: how many were there

local found = {}
for i = letters_at, #ARGV do
  local entry = redis.call('XRANGE', dead_prefix .. tenant, ARGV[i], ARGV[i])[1]
  if entry then found[#found + 1] = {entry[1], read_letter(entry).tier or '-'} end
end
local dropped = drop(tenant, found)
if dropped > 0 and did ~= '' then note_operation(now_ms, by, why, did) end
return dropped
