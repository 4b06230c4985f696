-- finish: ownership checked, entry acknowledged and deleted, response stored and announced, next state.
-- A worker that is not the owner any more is refused and writes nothing. The first write deletes or parks an
-- entry, so that the script still runs when the server is out of memory.
--
-- @keys owned cancelling cancel_asked parents held done actions response counters
-- @argv now_ms:int worker_id:str duplicate_window_ms:int response_ttl_ms:str callback_ttl_ms:str lines:str count:int items:rest
--       lines: what is told of each item when it is accepted, a line each
--       items: id*, so many as `count` says, then runs of them with what is alike: (how, of_run, response*)*;
--       how: 'token outcome due_ms reply_to unique_key extra'
--       extra: '' or JSON {reason, attempt, callback_queue, callback, scope, until_ms}; attempt is a line of JSON about
--       a failure; scope and until_ms: its handler said not now
-- @include domain_tag
-- @include announcing
-- @include events
-- @defer any_finish
-- REPLY: per item 1 (accepted) or 0 (not the owner any more)

-- The usual finish goes a short way: of one action, completed by its first attempt, with nothing to tell but its
-- response, in a tier that is not fair by run time, while nobody is held and nothing is to be cancelled or has sent
-- others. Until all of that is sure nothing is written, and whatever is not so goes the long way. What one costs is
-- mostly what Lua makes anew in each call: functions, tables, text.
repeat
  if count ~= 1 then break end
  local id, record = ARGV[items_at], redis.call('HGET', owned_prefix .. worker_id, ARGV[items_at])
  local token, reply_to = string.match(ARGV[items_at + 1], '^(%d+) completed %d+ (%S+) %- $')
  if not token or not record then break end
  local owned_by, tenant, tier, entry = string.match(record, '^(%d+) ([^:]+):(%S+) (%S+) 1 %d+ %S+$') -- see parse_owned
  if owned_by ~= token then break end
  -- One look at all: the last, asked for five times, is nearly always there and has to be made to expire if it is not.
  local known = done_prefix .. math.floor(now_ms / duplicate_window_ms)
  local there = redis.call('EXISTS', cancelling_prefix .. worker_id, parents_key, cancel_asked_key, held_key,
    known, known, known, known, known)
  if there % 5 > 0 then break end

  local stream, response = domain_tag .. tenant .. ':' .. tier, ARGV[items_at + 3]
  redis.pcall('XDEL', stream, entry)
  if redis.pcall('XLEN', stream) == 0 then redis.call('DEL', stream) else redis.pcall('XACK', stream, 'workers', entry) end
  if reply_to ~= '-' and response ~= '' then
    redis.call('RPUSH', response_prefix .. id, response)
    redis.call('PEXPIRE', response_prefix .. id, response_ttl_ms)
    if reply_to ~= '*' then announced(reply_to, redis.call('RPUSH', notify_prefix .. reply_to, announcement(id, response))) end
  end
  redis.call('HDEL', owned_prefix .. worker_id, id)
  redis.call('HDEL', actions_key, id)
  redis.call('HSET', known, id, 'completed')
  if there == 0 then redis.call('PEXPIRE', known, 2 * duplicate_window_ms + 1000) end
  redis.call('HINCRBY', counters_key, tier .. ':completed', '1')
  tell({lines})
  return {1}
until true

return any_finish()
