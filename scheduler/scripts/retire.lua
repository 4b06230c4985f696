-- retire: a worker that owns nothing any more leaves; the opposite of a first `extend`.
--
-- @keys workers worker_info owned cancelling sleepers mailbox declarations
-- @argv worker_id:str
-- @include wake
-- REPLY: 1 (gone) or 0 (it still owns actions: release them first)

if redis.call('EXISTS', owned_prefix .. worker_id) == 1 then return 0 end
local known = redis.call('ZREM', workers_key, worker_id)
redis.call('HDEL', declarations_key, worker_id)
redis.call('HDEL', worker_info_key, worker_id)
redis.call('ZREM', sleepers_key, worker_id)
redis.call('DEL', cancelling_prefix .. worker_id, mailbox_prefix .. worker_id)
-- It may have been woken for work it did not take, or have been the one who knew when the next is due.
if known == 1 then wake_one() end
return 1
