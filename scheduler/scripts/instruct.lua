-- instruct: a message from an operator to a worker, or to all workers of the domain.
--
-- @keys workers mailbox operations
-- @argv now_ms:int worker_id:str message:str by:str why:str
--       worker_id: '' for all
-- @include operations
-- REPLY: the workers that will read it

local told = {}
if worker_id == '' then
  told = redis.call('ZRANGE', workers_key, 0, -1)
elseif redis.call('ZSCORE', workers_key, worker_id) then
  told = {worker_id}
end
for _, worker in ipairs(told) do redis.call('RPUSH', mailbox_prefix .. worker, message) end
if #told > 0 then note_operation(now_ms, by, why, message .. ' ' .. (worker_id == '' and 'all workers' or 'worker ' .. worker_id)) end
return told
