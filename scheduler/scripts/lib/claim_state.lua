-- @keys backpressure

-- What the parts of a claim tell each other; those that most claims do not need are made when one does.

local some_returned = false -- does any tenant have entries that were given back? set by the caller
local some_overridden = false -- has any tenant an override? set by the caller
local some_pressed = false -- has any handler said not now? set by the caller
local some_shared = false -- do slots of a tenant count over several lines, for any of them? set by the caller
local unknown_periods = {} -- calendar periods of overrides that nobody has written yet
local quantum = 1 -- starts of one tenant in a row; set by the caller
local visits_left = 0 -- bounds the work of one call; set by the caller
local all_tiers = {} -- of the policy; set by the caller
local running_by, planned_by = {}, {} -- of a tenant, in all tiers: what runs, and what is planned and not read yet
local override, all_known -- of `own_rules`
local has_slot, count_handed -- of `tenant_slots`

local paused = {domain = false, tiers = {}, types = {}}
local some_type_paused = false
local resuming_type -- one of the types whose entries are coming back

local named = {} -- {name, limits, states, left, used, pressed_until}
local named_of_type -- action type → its named limits; nil: there are none

local reply, owned = {}, {} -- what the worker is told; the same for `owned:<worker>`
local token_prefix -- set by the caller

-- About the candidate that is being started: how its records begin and end, what its last start was charged,
-- what was read that is no action and what goes back (each nil while there is nothing).
local record_before, record_after, last_charge, rejected, back

-- Until when handlers said not now for a scope wider than a tenant; 0: nobody did.
local function pressed_until(scope, now)
  local until_ms = some_pressed and tonumber(redis.call('ZSCORE', backpressure_key, scope) or 0) or 0
  return until_ms > now and until_ms or 0
end
