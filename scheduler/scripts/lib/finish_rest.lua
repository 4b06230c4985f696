-- @include owned
-- @include returned
-- @include bury
-- @include run_time
-- @include attempts
-- @include backpressure
-- @include wake

-- What `finish` needs for more than what its first attempt completed, or where somebody is held.
return {
  park = park, put_back = put_back, group = group, bury = bury, bury_lost = bury_lost, add_attempt = add_attempt,
  attempt_lines = attempt_lines, parse_owned = parse_owned, charge_for = charge_for, learn_all = learn_all,
  correct_tags = correct_tags, press = press, end_concurrency_holds = end_concurrency_holds, wake_one = wake_one,
}
