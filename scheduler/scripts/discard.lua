-- discard: these dead letters go for good.
--
-- @keys dead
-- @argv tenant:str letters:rest
-- @include letters
-- REPLY: how many were there

local found = {}
for i = letters_at, #ARGV do
  local entry = redis.call('XRANGE', dead_prefix .. tenant, ARGV[i], ARGV[i])[1]
  if entry then found[#found + 1] = {entry[1], read_letter(entry).tier or '-'} end
end
return drop(tenant, found)
