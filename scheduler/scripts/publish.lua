-- publish: put a compiled policy to work in one domain, unless a newer version is at work there.
--
-- @keys policy
-- @argv policy_json:str
-- @include wake
-- REPLY: {the version at work now, 1 (another policy was replaced: `rehold`) or 0}

local wanted = cjson.decode(policy_json)
local present = redis.call('GET', policy_key)
local version = present and cjson.decode(present).version or 0
if version > wanted.version then return {version, 0} end
if present ~= policy_json then
  redis.call('SET', policy_key, policy_json)
  if present then wake_one() end -- a limit may have gone that it waits for
  return {wanted.version, present and 1 or 0}
end
return {wanted.version, 0}
