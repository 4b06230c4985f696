-- @keys owned held
-- @include waiting
-- @include tier_names

-- The fence: what `claim` wrote about an action for the worker that owns it.
-- token stream entry attempt started_ms charge, and in a tier fair by run time: weight action_type; started_ms and
-- charge are 0 for what was past its deadline when it was claimed: that is no start
local function parse_owned(record) -- all but started_ms; '' for what is not there, and for what an older claim left out
  return string.match(record, '^(%d+) (%S+) (%S+) (%d+) ?%d* ?(%S*) ?(%S*) ?(%S*)$')
end

-- when it started, what it was charged
local function parse_start(record)
  return string.match(record, '^%d+ %S+ %S+ %d+ (%d+) (%S+)')
end

-- Tenants held because all their slots were taken may start again, in any tier: something of theirs has ended.
-- Returns how many lines.
local function end_concurrency_holds(streams)
  if not next(streams) or redis.call('EXISTS', held_key) == 0 then return 0 end
  local seen, names, free = {}, {}, {}
  local tiers = tier_names()
  for stream in pairs(streams) do
    local tenant = split_stream(stream)
    if not seen[tenant] then
      seen[tenant] = true
      for _, tier in ipairs(tiers) do names[#names + 1] = tenant .. ':' .. tier end
    end
  end
  each_slice(names, 4000, function(...)
    local some = {...}
    for i, score in ipairs(redis.call('ZMSCORE', held_key, ...)) do
      if score == 'inf' then free[#free + 1] = some[i] end
    end
  end)
  end_holds(free)
  return #free
end
