-- retire: a worker that owns nothing any more leaves; the opposite of a first `extend`.
--
-- @keys workers worker_info owned cancelling sleepers mailbox declarations
-- @argv worker_id:str
-- @include wake
-- REPLY: 1 (gone) or 0 (it still owns actions: release them first)

if redis.call('EXISTS', owned_prefix .. worker_id) == 1 then return 0 end
redis.call('ZREM', workers_key, worker_id)
redis.call('HDEL', declarations_key, worker_id)
redis.call('HDEL', worker_info_key, worker_id)
local asleep = redis.call('ZREM', sleepers_key, worker_id)
local unread = redis.call('LLEN', mailbox_prefix .. worker_id)
redis.call('DEL', cancelling_prefix .. worker_id, mailbox_prefix .. worker_id)
if unread > 0 and asleep == 0 then wake_one() end -- it was woken for something it did not take
return 1
