-- enqueue: duplicate? refused? else into its stream (or scheduled), tenant marked ready, a sleeping worker woken.
--
-- @keys actions done counters registry waiting held sleepers mailbox
-- @argv period:str period_before:str now:str actions:rest
--       period, period_before: those of `done` in which an id that ended is remembered
--       now: ms, and then |name|start_ms|end_ms… of the calendar periods that contain it, for tiers that refuse
--       actions: (tenant:tier, id, head, data)*; no tier: none is claimed; after a tier what few ask for, each on a
--       line of its own: due_ms (or nothing), unique_key
-- @include domain_tag
-- @defer entering_alone enter_alone
-- @then any_actions
-- REPLY: per action, or without a list of the only one, 1 (accepted in the tier it claims), '+<tier>' (accepted in that one), 0 (this id is already
--        known), '=<id> <tier>' (that alive action is in its way), -1 (the stream's key holds something else),
--        '!<reason> …' (refused, nothing written of it: see scheduler/admission.py); or
--        'nopolicy', or {'periods', name*}: call again with these; or {'zones', name*}: write them first

-- The usual action goes a short way: alone, due now, without a unique key, under a policy whose tiers neither
-- refuse nor have moved. Until all of that is sure nothing is written, and whatever is not so goes the
-- long way. What one costs is mostly what Lua makes anew in each call: functions, tables, text.
repeat
  local claim, id, head, data = ARGV[actions_at], ARGV[actions_at + 1], ARGV[actions_at + 2], ARGV[actions_at + 3]
  if ARGV[actions_at + 4] then break end
  local call = redis.call
  -- One look: does anybody sleep, is anybody (counted twice) held? 'v1 <id> <deadline_ms> …': then it may be too late.
  local there = call('EXISTS', sleepers_key, held_key, held_key)
  if there > 1 and string.sub(head, #id + 4, #id + 6) ~= ' 0 ' then break end

  -- As `tier_of` decides, in the settings' text: '{"order":["<tier>",…],"default":"<tier>"…}', the best first.
  local find, sub = string.find, string.sub
  local colon = find(claim, ':', 1, true)
  local tenant, wanted = sub(claim, 1, colon - 1), sub(claim, colon + 1)
  if string.byte(wanted) == 126 then wanted = sub(wanted, 2) end -- '~': inherited
  local known = call('HMGET', registry_key, '*', tenant)
  local settings, tier = known[1] or '', known[2]
  local order_ends = find(settings, '],"default":"', 1, true)
  if not order_ends then break end
  local default_ends = find(settings, '"', order_ends + 13, true)
  local believed = not tier and default_ends == #settings - 1 -- nothing else is said: claims are believed
  if not believed and default_ends ~= #settings - 1 and sub(settings, default_ends) ~= '","strict":true}' then break end
  local wanted_at = wanted ~= '' and find(settings, '"' .. wanted .. '"', 11, true)
  if wanted ~= '' and (not wanted_at or wanted_at > order_ends or find(wanted, '"', 1, true)) then break end -- no name
  if not wanted_at or not believed then
    tier = tier or sub(settings, order_ends + 13, default_ends - 1)
    local at = find(settings, '"' .. tier .. '"', 11, true)
    if not at or at > order_ends or wanted_at and wanted_at < at then break end
  end
  if wanted_at then tier = wanted end

  if call('HEXISTS', actions_key, id) == 1 or call('HEXISTS', done_prefix .. period, id) == 1
    or call('HEXISTS', done_prefix .. period_before, id) == 1 then break end

  local stream = wanted_at and #claim == colon + #tier and claim or tenant .. ':' .. tier
  local key = domain_tag .. stream
  local entry = redis.pcall('XADD', key, 'NOMKSTREAM', '*', 'head', head, 'data', data)
  if not entry then -- there is no stream yet, or no more
    call('XGROUP', 'CREATE', key, 'workers', '0', 'MKSTREAM')
    entry = call('XADD', key, '*', 'head', head, 'data', data)
  end
  if type(entry) ~= 'string' then break end
  call('HSET', actions_key, id, stream .. ' ' .. entry)
  local enqueued = call('HINCRBY', counters_key, tier .. ':enqueued', '1')
  if call('HINCRBY', waiting_key, stream, '1') == 1 then entering_alone()(tier, tenant) end
  if enqueued % 64 == 0 then -- a hash of small fields is searched from its first; one that ever had a large one, by name
    call('HSET', waiting_key, '', string.rep(' ', 65))
    call('HDEL', waiting_key, '')
  end
  if there % 2 == 1 then
    local worker = call('ZPOPMAX', sleepers_key)[1] -- as `wake_one` does
    call('RPUSH', mailbox_prefix .. worker, 'wake')
  end
  return stream == claim and 1 or '+' .. tier
until true
