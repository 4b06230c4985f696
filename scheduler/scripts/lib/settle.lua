-- @keys cancel_asked actions done unique_holders response parents children cancelled_parents
-- @include variadic
-- @include announcing

local LOOKED_AFTER_MS = 5000 -- by then who cancelled has reached the children, and what was being sent is in line

-- What ended for good in this call: forget where it is, remember its outcome for one to two duplicate
-- windows, store its response, tell who asked.
local ended = {unique_keys = {}, announced = {}, inline = {}, cancelled = {}}
local ended_ids, ended_outcomes, ended_count = {}, {}, 0
local call = redis.call -- looked up once, for it is needed for every action

-- What a client is to be told, to be added to.
local function lines_for(client)
  local lines = ended.announced[client]
  if not lines then
    lines = {}
    ended.announced[client] = lines
  end
  return lines
end

local function settle(id, outcome, reply_to, response, response_ttl_ms, unique_key)
  local count = ended_count + 1
  ended_ids[count], ended_outcomes[2 * count - 1], ended_outcomes[2 * count] = id, id, outcome
  ended_count = count
  if outcome == 'cancelled' then ended.cancelled[id] = true end
  if unique_key ~= '-' then ended.unique_keys[#ended.unique_keys + 1] = unique_key end
  if reply_to ~= '-' and response ~= '' then
    local list = response_prefix .. id
    call('RPUSH', list, response)
    call('PEXPIRE', list, response_ttl_ms)
    if reply_to ~= '*' then
      local lines = lines_for(reply_to)
      lines[#lines + 1] = announcement(id, response)
    end
  end
end

-- The same for what ended alike, without a unique key: those `accepted` of `ids` from `how.first` to `how.last`.
local function settle_alike(how, ids, accepted, response_ttl_ms)
  local count, outcome, arguments = ended_count, how.outcome, ARGV
  local responses_at = how.reply_to ~= '-' and how.responses
  local lines = responses_at and how.reply_to ~= '*' and lines_for(how.reply_to)
  local told, inline = lines and #lines, lines and ended.inline[how.reply_to]
  if lines and not inline then
    inline = inline_to(how.reply_to, how.last - how.first + 1)
    ended.inline[how.reply_to] = inline
  end
  for n = how.first, how.last do
    if accepted[n] == 1 then
      local id = ids[n]
      count = count + 1
      ended_ids[count], ended_outcomes[2 * count - 1], ended_outcomes[2 * count] = id, id, outcome
      local response = responses_at and arguments[responses_at + n] or ''
      if response ~= '' then
        local list = response_prefix .. id
        call('RPUSH', list, response)
        call('PEXPIRE', list, response_ttl_ms)
        if lines then
          told = told + 1
          lines[told] = #response <= inline and id .. '\n' .. response or id .. '\n'
        end
      end
    end
  end
  ended_count = count
end

-- What they have sent is asked for no more; of cancelled ones it is: by whoever cancelled them, then by any worker.
local function forget_children(now)
  each_slice(ended_ids, 4000, function(...)
    local ids = {...}
    for n, is_parent in ipairs(redis.call('SMISMEMBER', parents_key, ...)) do
      if is_parent == 1 then
        redis.call('SREM', parents_key, ids[n])
        if ended.cancelled[ids[n]] then
          redis.call('ZADD', cancelled_parents_key, now + LOOKED_AFTER_MS, ids[n])
        else
          redis.call('DEL', children_prefix .. ids[n])
        end
      end
    end
  end)
end

-- `is_quiet`: nothing is to be cancelled, and nothing has sent others.
local function write_settled(now, duplicate_window_ms, is_quiet)
  if ended_count == 0 then return end
  write_all('HDEL', actions_key, ended_ids)
  local has_rare = not is_quiet and redis.call('EXISTS', parents_key, cancel_asked_key) > 0
  if has_rare and redis.call('EXISTS', parents_key) == 1 then forget_children(now) end
  local known = done_prefix .. math.floor(now / duplicate_window_ms)
  write_all('HSET', known, ended_outcomes)
  redis.call('PEXPIRE', known, 2 * duplicate_window_ms + 1000)
  if has_rare then write_all('SREM', cancel_asked_key, ended_ids) end
  if #ended.unique_keys > 0 then write_all('HDEL', unique_holders_key, ended.unique_keys) end
  for client, lines in pairs(ended.announced) do
    if lines[1] then announced(client, write_all('RPUSH', notify_prefix .. client, lines)) end
  end
end
