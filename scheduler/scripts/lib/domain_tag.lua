-- What the names of a domain's streams begin with: `embedding:`, on a Cluster `{embedding}:`.
local domain_tag = string.sub(KEYS[1], string.find(KEYS[1], ':', 1, true) + 1) .. ':'
