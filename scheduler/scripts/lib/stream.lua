-- @include domain_tag

-- Names of streams and the two fields of an entry.

-- Somebody else's key under a stream's name, or a stream that somebody deleted, must not stop the other
-- tenants: nil instead of an error. (A nil reply is false.)
local function try(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then return nil end
  return reply
end

local function split_stream(stream)
  return string.match(stream, '^([^:]+):([^:]+)$')
end

local MOST_HEAD = 4000 -- bytes; Python reads no number of more digits

-- action id, deadline_ms (text) and payload of an entry written by `enqueue`; nil for anything else. Its names are
-- printable ASCII, and it has no numbers that are none of a clock: what no worker could read must not come into a claim,
-- where it would spoil what came with it.
local function read_entry(fields)
  if fields and fields[1] == 'head' and fields[3] == 'data' and not fields[5] then
    local id, deadline_ms = string.match(fields[2], '^v1 ([!-~]+) (%d+) [!-~]+ %d+ [!-~]+ [!-~]+$')
    if id and #deadline_ms <= 16 and #fields[2] <= MOST_HEAD then return id, deadline_ms, fields[4] end
  end
end

-- Its action id, if its deadline has not passed.
local function id_in_time(fields, now)
  local id, deadline_ms = read_entry(fields)
  return id and tonumber(deadline_ms) > now and id or nil
end

-- type, enqueued_ms, reply_to, unique_key of a header
local function rest_of_head(head)
  return string.match(head, '^v1 %S+ %d+ (%S+) (%d+) (%S+) (%S+)$')
end

-- Entry ids so written that they sort as text: 1732147200000-3 -> 1732147200000-0000000003
local function sortable(entry)
  local ms, seq = string.match(entry, '^(%d+)-(%d+)$')
  return string.format('%s-%010d', ms, seq)
end

local function unsortable(member)
  local ms, seq = string.match(member, '^(%d+)-0*(%d+)$')
  return ms .. '-' .. seq
end

-- Append to a work stream, made with its group when it is not there; its entry id, or nil when the key holds
-- something else.
local function append(stream, head, data)
  local key = domain_tag .. stream
  local entry = redis.pcall('XADD', key, 'NOMKSTREAM', '*', 'head', head, 'data', data)
  if not entry then
    redis.call('XGROUP', 'CREATE', key, 'workers', '0', 'MKSTREAM')
    return redis.call('XADD', key, '*', 'head', head, 'data', data)
  end
  if type(entry) ~= 'table' then return entry end
  if string.find(entry.err, '^WRONGTYPE') then return nil end
  return redis.call('XADD', key, 'NOMKSTREAM', '*', 'head', head, 'data', data) -- fails again, aloud
end
