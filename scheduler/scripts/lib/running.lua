-- How many of a stream's entries are owned by workers.
local function running_of(key)
  local pending = redis.pcall('XPENDING', key, 'workers')
  for _, consumer in ipairs(pending[4] or {}) do
    if consumer[1] == 'running' then return tonumber(consumer[2]) end
  end
  return 0
end
