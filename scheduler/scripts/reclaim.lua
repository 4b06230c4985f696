-- reclaim: take back what a dead worker held; it is next in its tenant's line. One worker per call, a
-- bounded number of actions: call again while the reply says there was one.
-- With `worker_id` that worker is dead because the caller says so, provided that it has not moved its lease
-- since (`lease_ms`, '' for whatever it is). Without, it is one whose lease has ended.
--
-- @keys workers worker_info owned cancelling sleepers mailbox scheduled counters
-- @argv now_ms:int most:int worker_id:str lease_ms:str poison_deaths:int apart_ms:int
-- @include owned
-- @include returned
-- @include bury
-- @include wake
-- @include attempts
-- REPLY: {dead workers found (0 or 1), actions taken back, worker, (token, stream, attempt, deaths, head, data)*}
--        The latter are left where they are: with them the last of `poison_deaths` workers died; they are to
--        be finished in this worker's name.

local TOLD_AT_ONCE = 20 -- with their payloads; the others are told at the next call

local worker = worker_id
if worker == '' then
  worker = redis.call('ZRANGEBYSCORE', workers_key, '-inf', '(' .. now_ms, 'LIMIT', 0, 1)[1]
  if not worker then return {0, 0, ''} end
else
  local lease = redis.call('ZSCORE', workers_key, worker)
  if not lease or (lease_ms ~= '' and tonumber(lease) ~= tonumber(lease_ms)) then return {0, 0, ''} end
end
local owned_key = owned_prefix .. worker
local cursor, fields = '0', nil
repeat -- a hash that has shrunk may show nothing at first
  cursor, fields = unpack(redis.call('HSCAN', owned_key, cursor, 'COUNT', most))
until #fields > 0 or cursor == '0'

local ids, records = {}, {}
for i = 1, #fields, 2 do
  ids[#ids + 1], records[fields[i]] = fields[i], fields[i + 1]
end
table.sort(ids)
local histories = #ids > 0 and redis.call('HMGET', attempts_key, unpack(ids)) or {}
local reply, apart = {1, 0, worker}, 0
local by_stream, taken, freed, counts = {}, {}, {}, {}

-- Whether it is to be left where it is, and told; then it has been.
local function told(id, history)
  local deaths = tonumber(string.match(history or '0', '^%d+')) + 1
  if deaths < poison_deaths then return false end
  local token, stream, entry, attempt = parse_owned(records[id])
  local found = try('XRANGE', domain_tag .. stream, entry, entry)
  local head = found and found[1] and found[1][2]
  if not head then return false end -- somebody else deleted it
  if #reply < 3 + 6 * TOLD_AT_ONCE then
    for _, value in ipairs({token, stream, attempt, deaths, head[2], head[4]}) do reply[#reply + 1] = value end
  end
  return true
end

-- An attempt is spent; it starts again at once, but on its last chance apart from what else died here.
local function again(id, history)
  local _, stream, entry, attempt = parse_owned(records[id])
  if park(stream, entry, attempt) then
    local line, deaths = string.format('{"attempt": %s, "ended_ms": %d, "worker": %s, "error": "the worker died", "died": true}',
      attempt, now_ms, cjson.encode(worker))
    line, deaths = add_attempt(history, line, 1)
    redis.call('HSET', attempts_key, id, line)
    if deaths == poison_deaths - 1 and #ids > 1 then
      redis.call('ZADD', scheduled_key, now_ms + apart * apart_ms, id)
      apart = apart + 1
    else
      group(by_stream, stream, entry)
    end
  else
    bury_lost(id, stream, now_ms, attempt)
  end
  freed[stream] = true
  taken[#taken + 1] = id
  local _, tier = split_stream(stream)
  counts[tier] = (counts[tier] or 0) + 1
end

for n, id in ipairs(ids) do
  if not told(id, histories[n]) then again(id, histories[n]) end
end

if #taken > 0 then
  write_all('HDEL', owned_key, taken)
  put_back(by_stream)
  end_concurrency_holds(freed)
  for tier, count in pairs(counts) do redis.call('HINCRBY', counters_key, tier .. ':reclaimed', count) end
end
local gone = redis.call('EXISTS', owned_key) == 0
if gone then
  redis.call('ZREM', workers_key, worker)
  redis.call('HDEL', worker_info_key, worker)
  redis.call('ZREM', sleepers_key, worker)
  redis.call('DEL', cancelling_prefix .. worker, mailbox_prefix .. worker)
end
-- It may have been woken for work it did not take, or have been the one who knew when the next is due.
if #taken > 0 or gone then wake_one() end
reply[2] = #taken
return reply
