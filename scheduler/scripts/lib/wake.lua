-- @keys sleepers mailbox

-- Wake the worker that went to sleep last; it wakes the next one if it leaves work behind.
local function wake_one()
  local worker = redis.call('ZPOPMAX', sleepers_key)[1]
  if worker then
    redis.call('RPUSH', mailbox_prefix .. worker, 'wake')
  end
end
