-- describe: what a worker says about itself. One that claims no more leaves the sleepers, and what it was woken
-- for goes to another.
--
-- @keys workers worker_info sleepers
-- @argv worker_id:str info:str claims:int
-- @include wake
-- REPLY: 1, or 0 when the worker is not registered: nothing is kept

if not redis.call('ZSCORE', workers_key, worker_id) then return 0 end
redis.call('HDEL', worker_info_key, worker_id) -- allowed when the server is out of memory, then the rest is too
redis.call('HSET', worker_info_key, worker_id, info)
if claims == 0 then
  redis.call('ZREM', sleepers_key, worker_id)
  wake_one()
end
return 1
