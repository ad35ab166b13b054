-- Reads an account, its organizations, and a key of it if one is named: all of it as of one instant, in one round trip.
--
-- KEYS  the account's record; then, if a key is named, its live keys, its ended keys, and the last uses of its keys
-- ARGV  1: the realm; 2: the key's id, if one is named
-- reply the account's record and those of its organizations; then the key's record, that of the ended key, and that of the key's last use.
--       Each may be absent.
--
-- The names of organizations are not declared, so this does not run on a Cluster.

local call = redis.call
local record = call('GET', KEYS[1])
local reply = {record, organizations(ARGV[1], record)}
for at = 2, #KEYS do reply[at + 1] = call('HGET', KEYS[at], ARGV[2]) end
return reply
