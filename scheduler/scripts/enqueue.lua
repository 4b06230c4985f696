-- enqueue: duplicate? refused? else into its stream (or scheduled), tenant marked ready, a sleeping worker woken.
--
-- @keys actions done counters registry waiting held
-- @argv now:str period:str period_before:str periods_now:str actions:rest
--       now: ms; period, period_before: those of `done` in which an id that ended is remembered
--       periods_now: name|start_ms|end_ms|… of the calendar periods that contain now, for tiers that refuse
--       actions: (tenant:tier, id, head, data, due_ms, unique_key)*, '' for no tier, due time or unique key
-- @include domain_tag
-- @include wake
-- @defer entering enter_ready
-- @defer any_actions enqueue_any
-- REPLY: per action, or without a list of the only one, 1 (accepted in the tier it claims), '+<tier>' (accepted in that one), 0 (this id is already
--        known), '=<id> <tier>' (that alive action is in its way), -1 (the stream's key holds something else),
--        '!<reason> …' (refused, nothing written of it: see scheduler/admission.py); or
--        'nopolicy', or {'periods', name*}: call again with these; or {'zones', name*}: write them first

-- The usual action goes a short way: alone, due now, without a unique key, under a policy whose tiers neither
-- refuse nor have moved. Until all of that is sure nothing is written, and whatever is not so goes the
-- long way. What one costs is mostly what Lua makes anew in each call: functions, tables, text.
repeat
  local claim, id, head = ARGV[actions_at], ARGV[actions_at + 1], ARGV[actions_at + 2]
  if ARGV[actions_at + 6] or ARGV[actions_at + 4] ~= '' or ARGV[actions_at + 5] ~= '' then break end
  -- 'v1 <id> <deadline_ms> …': with a deadline only where nobody is held, for it may be too late then
  if string.sub(head, #id + 4, #id + 6) ~= ' 0 ' and redis.call('EXISTS', held_key) == 1 then break end

  -- As `tier_of` decides, in the settings' text: '{"order":["<tier>",…],"default":"<tier>"…}', the best first.
  local colon = string.find(claim, ':', 1, true)
  local tenant, wanted = string.sub(claim, 1, colon - 1), string.sub(claim, colon + 1)
  if string.byte(wanted) == 126 then wanted = string.sub(wanted, 2) end -- '~': inherited
  local known = redis.call('HMGET', registry_key, '*', tenant)
  local settings, registered = known[1] or '', known[2]
  local order_ends = string.find(settings, '],"default":"', 1, true)
  if not order_ends then break end
  local default, strict = string.match(settings, '^([^"]*)"(.*)', order_ends + 13)
  if strict ~= '}' and strict ~= ',"strict":true}' then break end
  local tier = registered or default
  local at = string.find(settings, '"' .. tier .. '"', 11, true)
  if not at or at > order_ends then break end
  if wanted ~= '' and wanted ~= tier then
    if string.find(wanted, '"', 1, true) then break end -- no name: it may look like two that follow each other
    local wanted_at = string.find(settings, '"' .. wanted .. '"', 11, true)
    if not wanted_at or wanted_at > order_ends or wanted_at < at and (registered or strict ~= '}') then break end
    tier = wanted
  end

  if redis.call('HEXISTS', actions_key, id) == 1 or redis.call('HEXISTS', done_prefix .. period, id) == 1
    or redis.call('HEXISTS', done_prefix .. period_before, id) == 1 then break end

  local stream, data = tenant .. ':' .. tier, ARGV[actions_at + 3]
  local key = domain_tag .. stream
  local entry = redis.pcall('XADD', key, 'NOMKSTREAM', '*', 'head', head, 'data', data)
  if not entry then -- there is no stream yet, or no more
    redis.call('XGROUP', 'CREATE', key, 'workers', '0', 'MKSTREAM')
    entry = redis.call('XADD', key, '*', 'head', head, 'data', data)
  end
  if type(entry) ~= 'string' then break end
  redis.call('HSET', actions_key, id, stream .. ' ' .. entry)
  redis.call('HINCRBY', counters_key, tier .. ':enqueued', '1')
  if redis.call('HINCRBY', waiting_key, stream, '1') == 1 then entering()(tier, {tenant}) end
  wake_one()
  return stream == claim and 1 or '+' .. tier
until true

return any_actions()()
