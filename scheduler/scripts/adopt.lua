-- adopt: what a running action is about to send is written down under it, so that whoever cancels it, in a later
-- attempt or between two, knows of that. It goes when the action ends.
--
-- @keys actions parents children done
-- @argv now_ms:int duplicate_window_ms:int parent:str most:int children:rest
--       children: lines that the caller understands; the newest `most` of a parent are kept
-- @include variadic
-- REPLY: 'written'; or the parent is over, and nothing was written: 'cancelled' where that is how it ended, lately;
--        else 'over'

if redis.call('HEXISTS', actions_key, parent) == 0 then
  local period = math.floor(now_ms / duplicate_window_ms)
  for each = period, period - 1, -1 do
    if redis.call('HGET', done_prefix .. each, parent) == 'cancelled' then return 'cancelled' end
  end
  return 'over'
end
local lines = {}
for i = children_at, #ARGV do lines[#lines + 1] = ARGV[i] end
redis.call('SADD', parents_key, parent)
write_all('RPUSH', children_prefix .. parent, lines)
redis.call('LTRIM', children_prefix .. parent, -most, -1)
return 'written'
