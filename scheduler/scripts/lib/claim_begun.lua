-- @keys fairness sleepers

-- What the beginning of a claim leaves to the rest of it.

local policy_json -- the text; set by the caller
local read_before, read_key -- what the short way has read, for the long one to go on with, and its stream's key

-- Nobody can use what was saved up: what is to be written of the credits, those fields from the second on, is added to
-- `fairness`.
local function forget_credits(fields, kept, count, fairness)
  for i = 2, count do
    if kept[i] and kept[i] ~= '0' then
      local at = #fairness
      fairness[at + 1], fairness[at + 2] = fields[i], '0'
    end
  end
end

-- Nothing is ready: the worker goes to sleep.
local function claim_nothing(version, fields)
  local kept, fairness = redis.call('HMGET', fairness_key, unpack(fields)), {}
  local asleep = redis.pcall('ZADD', sleepers_key, ARGV[1], worker_id)
  if type(asleep) == 'table' then
    redis.call('ZREM', sleepers_key, worker_id) -- allowed when the server is out of memory, then the rest is too
    redis.call('ZADD', sleepers_key, ARGV[1], worker_id)
  end
  forget_credits(fields, kept, #fields, fairness)
  if fairness[1] then redis.call('HSET', fairness_key, unpack(fairness)) end
  return {'ok', (kept[1] or 0) + 1, 0, 0, version}
end
