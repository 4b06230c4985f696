-- adopt: what a running action is about to send is written down under it, so that whoever cancels it, in a later
-- attempt or between two, knows of that. It goes when the action ends.
--
-- @keys actions parents children
-- @argv parent:str most:int children:rest
--       children: lines that the caller understands; the newest `most` of a parent are kept
-- @include variadic
-- REPLY: 1, or 0: the parent is over, nothing was written

if redis.call('HEXISTS', actions_key, parent) == 0 then return 0 end
local lines = {}
for i = children_at, #ARGV do lines[#lines + 1] = ARGV[i] end
redis.call('SADD', parents_key, parent)
write_all('RPUSH', children_prefix .. parent, lines)
redis.call('LTRIM', children_prefix .. parent, -most, -1)
return 1
