-- pass_on: a worker that was woken has no free slot by now: it leaves the sleepers, and another is woken for what it
-- was woken for. It claims by itself when it has one.
--
-- @keys sleepers
-- @argv worker_id:str
-- @include wake
-- REPLY: 1

redis.call('ZREM', sleepers_key, worker_id)
wake_one()
return 1
