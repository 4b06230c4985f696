-- rehold: end the holds of limits that are no longer what they were; the next claims look at those tenants again and
-- hold them for what binds them now. A bounded number per call: call again with the cursor until it is 0.
--
-- @keys held_why
-- @argv cursor:str most:int limits:rest
--       limits: what binds, as in `held_why`; none given: all of them
-- @include waiting
-- @include wake
-- REPLY: {cursor, holds ended}

local wanted = {}
for i = limits_at, #ARGV do wanted[ARGV[i]] = true end
local found = redis.call('HSCAN', held_why_key, cursor, 'COUNT', most)
local ending = {}
for i = 1, #found[2], 2 do
  if limits_at > #ARGV or wanted[found[2][i + 1]] then ending[#ending + 1] = found[2][i] end
end
end_holds(ending)
if #ending > 0 then wake_one() end
return {found[1], #ending}
