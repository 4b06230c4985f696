-- @keys operations

local OPERATIONS_KEPT = 10000

-- Who did what, when and why.
local function note_operation(now, by, why, did)
  redis.call('XADD', operations_key, 'MAXLEN', '~', OPERATIONS_KEPT, '*', 'at', now, 'by', by, 'why', why, 'did', did)
end
