-- @include stream

local ENTRIES_AT_ONCE = 50 -- their payloads come along

-- How many entries of a stream lie between `after` and `entry`, at most about `most`; and the entry reached, or
-- '' when all are counted.
local function count_between(key, after, entry, most)
  local count = 0
  while count < most do
    local found = try('XRANGE', key, '(' .. after, '(' .. entry, 'COUNT', ENTRIES_AT_ONCE) or {}
    count = count + #found
    if #found < ENTRIES_AT_ONCE then return count, '' end
    after = found[#found][1]
  end
  return count, after
end
