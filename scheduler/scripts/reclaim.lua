-- reclaim: take back what a dead worker held; it is next in its tenant's line. One worker per call, a
-- bounded number of actions: call again while the reply says there was one.
-- With `worker_id` that worker is dead because the caller says so, provided that it has not moved its lease
-- since (`lease_ms`, '' for whatever it is). Without, it is one whose lease has ended.
--
-- @keys workers owned cancelling sleepers mailbox counters
-- @argv now_ms:int most:int worker_id:str lease_ms:str
-- @include owned
-- @include returned
-- @include bury
-- @include wake
-- REPLY: {dead workers found (0 or 1), actions taken back}

local worker = worker_id
if worker == '' then
  worker = redis.call('ZRANGEBYSCORE', workers_key, '-inf', '(' .. now_ms, 'LIMIT', 0, 1)[1]
  if not worker then return {0, 0} end
else
  local lease = redis.call('ZSCORE', workers_key, worker)
  if not lease or (lease_ms ~= '' and tonumber(lease) ~= tonumber(lease_ms)) then return {0, 0} end
end
local owned_key = owned_prefix .. worker
local cursor, fields = '0', nil
repeat -- a hash that has shrunk may show nothing at first
  cursor, fields = unpack(redis.call('HSCAN', owned_key, cursor, 'COUNT', most))
until #fields > 0 or cursor == '0'

local by_stream, taken, freed, counts = {}, {}, {}, {}
for i = 1, #fields, 2 do
  local _, stream, entry, attempt = parse_owned(fields[i + 1])
  if park(stream, entry, attempt) then
    group(by_stream, stream, entry)
  else
    bury_lost(fields[i], stream, now_ms, attempt)
  end
  freed[stream] = true
  taken[#taken + 1] = fields[i]
  local _, tier = split_stream(stream)
  counts[tier] = (counts[tier] or 0) + 1
end

if #taken > 0 then
  write_all('HDEL', owned_key, taken)
  put_back(by_stream)
  end_concurrency_holds(freed)
  for tier, count in pairs(counts) do redis.call('HINCRBY', counters_key, tier .. ':reclaimed', count) end
end
local unread = 0
if redis.call('EXISTS', owned_key) == 0 then
  unread = redis.call('LLEN', mailbox_prefix .. worker) -- it may have been woken for work it did not take
  redis.call('ZREM', workers_key, worker)
  redis.call('ZREM', sleepers_key, worker)
  redis.call('DEL', cancelling_prefix .. worker, mailbox_prefix .. worker)
end
if #taken > 0 or unread > 0 then wake_one() end
return {1, #taken}
