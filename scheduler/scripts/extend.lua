-- extend: prolong this worker's lease; with `register` set, start one.
--
-- @keys workers cancelling
-- @argv now_ms:int worker_id:str lease_until_ms:int register:int
-- REPLY: {1 (held) or 0 (lost: declared dead, what it held belongs to others), (id to cancel)*}

local lease = redis.call('ZSCORE', workers_key, worker_id)
if register == 0 and not lease then return {0} end
redis.call('ZREM', workers_key, worker_id) -- allowed when the server is out of memory, and so is what follows
redis.call('ZADD', workers_key, math.max(lease_until_ms, tonumber(lease or 0)), worker_id)
local reply = {1}
for _, id in ipairs(redis.call('SMEMBERS', cancelling_prefix .. worker_id)) do reply[#reply + 1] = id end
return reply
