-- @keys workers mailbox

local TOLD = 8

-- A due time may come earlier than anybody who sleeps expects: tell some of those who live.
local function tell_tickers()
  for _, worker in ipairs(redis.call('ZREVRANGE', workers_key, 0, TOLD - 1)) do
    redis.call('RPUSH', mailbox_prefix .. worker, 'cron')
  end
end
