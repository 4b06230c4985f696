-- declare: what a worker's code says of its schedules becomes true, unless a newer version of it is at work.
--
-- A declaration gives way to any that was never there before. An older one comes back only when no living worker
-- declares what replaced it, and a schedule goes only when no living worker declares it: while a deployment rolls,
-- versions do not undo each other.
--
-- @keys declarations schedules schedules_due schedules_fired schedules_history schedule_owners workers
-- @argv now_ms:int worker_id:str owner:str most:int declared:rest
--       declared: (schedule_id, digest, body, next_ms)*; most: schedules a domain may have
-- @include tickers
-- REPLY: {created, updated, removed, refused}: ids, separated by blanks; refused: made at run time, or too many

local SUPERSEDED_KEPT = 10
local created, updated, removed, refused = {}, {}, {}, {}

local function words(text)
  local found = {}
  for word in string.gmatch(text, '%S+') do found[#found + 1] = word end
  return found
end

-- saying[schedule][digest]: some other living worker declares that
local saying, gone = {}, {}
local all = redis.call('HGETALL', declarations_key)
for i = 1, #all, 2 do
  local lease = tonumber(redis.call('ZSCORE', workers_key, all[i]) or nil)
  if not lease then
    gone[#gone + 1] = all[i]
  elseif lease > now_ms and all[i] ~= worker_id then
    local said = words(all[i + 1])
    for n = 2, #said, 2 do
      saying[said[n]] = saying[said[n]] or {}
      saying[said[n]][said[n + 1]] = true
    end
  end
end

local mine, line = {}, {owner}
for i = declared_at, #ARGV, 4 do
  mine[ARGV[i]] = true
  line[#line + 1] = ARGV[i]
  line[#line + 1] = ARGV[i + 1]
end
for i = 1, #gone, 1000 do redis.call('HDEL', declarations_key, unpack(gone, i, math.min(i + 999, #gone))) end
if #line == 1 or not redis.call('ZSCORE', workers_key, worker_id) then
  redis.call('HDEL', declarations_key, worker_id)
else
  redis.call('HSET', declarations_key, worker_id, table.concat(line, ' '))
end

local function write(id, revision, digest, superseded, paused, body, next_ms)
  redis.call('HSET', schedules_key, id, table.concat({revision, digest, owner, superseded}, ' ')
    .. '\n' .. paused .. '\n' .. body)
  redis.call('HSET', schedule_owners_key, id, owner)
  local due = tonumber(redis.call('ZSCORE', schedules_due_key, id) or nil)
  if paused == '-' and next_ms ~= '' and (not due or due > now_ms) then
    redis.call('ZADD', schedules_due_key, next_ms, id)
  end
end

local function without(list, digest)
  local kept = {}
  for each in string.gmatch(list, '[^,]+') do
    if each ~= digest and each ~= '-' and #kept < SUPERSEDED_KEPT - 1 then kept[#kept + 1] = each end
  end
  return kept
end

local function declare(id, digest, body, next_ms)
  local record = redis.call('HGET', schedules_key, id)
  if not record then
    if redis.call('HLEN', schedules_key) >= most then return refused end
    write(id, 1, digest, '-', '-', body, next_ms)
    return created
  end
  local revision, present, whose, superseded, paused = string.match(record, '^(%d+) (%S+) (%S+) (%S+)\n([^\n]*)\n')
  if whose == '-' then return refused end
  if present == digest then return nil end
  local was_there = string.find(',' .. superseded .. ',', ',' .. digest .. ',', 1, true)
  if was_there and saying[id] and saying[id][present] then return nil end
  local kept = without(superseded, digest)
  table.insert(kept, 1, present)
  write(id, revision + 1, digest, table.concat(kept, ','), paused, body, next_ms)
  return updated
end

for i = declared_at, #ARGV, 4 do
  local list = declare(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
  if list then list[#list + 1] = ARGV[i] end
end

local owners = redis.call('HGETALL', schedule_owners_key)
for i = 1, #owners, 2 do
  if owners[i + 1] == owner and not mine[owners[i]] and not saying[owners[i]] then
    redis.call('HDEL', schedules_key, owners[i])
    redis.call('ZREM', schedules_due_key, owners[i])
    redis.call('HDEL', schedules_fired_key, owners[i])
    redis.call('HDEL', schedules_history_key, owners[i])
    redis.call('HDEL', schedule_owners_key, owners[i])
    removed[#removed + 1] = owners[i]
  end
end
if #created + #updated > 0 then tell_tickers() end
return {table.concat(created, ' '), table.concat(updated, ' '), table.concat(removed, ' '), table.concat(refused, ' ')}
