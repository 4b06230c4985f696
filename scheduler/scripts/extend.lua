-- extend: prolong this worker's lease; with `register` set, start one.
--
-- @keys workers cancelling
-- @argv now_ms:int worker_id:str lease_until_ms:int register:int
-- REPLY: {1 (held) or 0 (lost: declared dead, what it held belongs to others), (id to cancel)*}

local lease = redis.call('ZSCORE', workers_key, worker_id)
if register == 0 and not lease then return {0} end
redis.call('ZREM', workers_key, worker_id) -- allowed when the server is out of memory, and so is what follows
-- A late heartbeat shortens nothing. But a lease that ends a lease later than this one was given by a clock that has
-- been set back: it would stand still, and who stands still is taken for dead.
local known = tonumber(lease or 0)
if known > lease_until_ms + (lease_until_ms - now_ms) then known = 0 end
redis.call('ZADD', workers_key, math.max(lease_until_ms, known), worker_id)
local reply = {1}
for _, id in ipairs(redis.call('SMEMBERS', cancelling_prefix .. worker_id)) do reply[#reply + 1] = id end
return reply
