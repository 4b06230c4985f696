-- @keys returned returned_count
-- @include waiting

-- Parked entries of one stream to the head of its line; the caller counts them as waiting.
local function return_entries(stream, entries)
  local members = {}
  for _, entry in ipairs(entries) do
    members[#members + 1] = 0
    members[#members + 1] = sortable(entry)
  end
  write_all('ZADD', returned_prefix .. stream, members)
  redis.call('HINCRBY', returned_count_key, stream, #entries)
end

-- Give entries back to the head of their tenant's line: {stream = {entry, ...}}.
local function put_back(by_stream)
  local streams, added = {}, {}
  for stream, entries in pairs(by_stream) do
    return_entries(stream, entries)
    streams[#streams + 1] = stream
    added[stream] = #entries
  end
  add_waiting(streams, added)
  look_at_heads_again(streams)
end

-- Set an owned entry aside for another attempt; false when somebody else deleted it.
local function park(stream, entry, deliveries)
  local parked = try('XCLAIM', domain_tag .. stream, 'workers', 'parked', 0, entry,
    'RETRYCOUNT', deliveries, 'JUSTID')
  return parked and #parked > 0
end

-- `taken` of a stream's returned entries are gone.
local function forget_returned(stream, taken)
  if redis.call('HINCRBY', returned_count_key, stream, -taken) <= 0 then
    redis.call('HDEL', returned_count_key, stream)
  end
end

-- Add to a {stream = {entry, ...}} table.
local function group(by_stream, stream, entry)
  local entries = by_stream[stream]
  if entries then
    entries[#entries + 1] = entry
  else
    by_stream[stream] = {entry}
  end
end
