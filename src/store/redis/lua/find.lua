-- Reads what digests lead to, and the account and the key there: all of it as of one instant, in one round trip.
--
-- KEYS  the lookup of every digest
-- ARGV  1: whether to read when the keys were last used, 1 or 0
-- reply the lookup of every digest; then of every lookup that is there the account's record, those of its organizations, the key's
--       record, that of the ended key, and, if asked for, of the key's last use. Each may be absent. Whoever asked checks the seals,
--       and so that these are the records that the lookup names.
--
-- Digests that lead nowhere cost the same as one that leads to a key, so that time does not tell whether a key ever existed.
-- The names that are read here are not declared, so this does not run on a Cluster.

local call = redis.call

-- The texts in a record of type `Lookup`, by the tag of their field: a version, a seal, then the message.
local function texts(record)
    local found, at = {}, 18
    while at < #record do
        local tag, length = record:byte(at, at + 1)
        at = at + 2
        if length > 127 then
            length = length - 128 + 128 * (record:byte(at) or 0)
            at = at + 1
        end
        found[tag] = record:sub(at, at + length - 1)
        at = at + length
    end
    return found
end

local realm_tag, account_tag, key_tag = 10, 26, 34

local reply, ways = {}, {}
for at, name in ipairs(KEYS) do
    local lookup = call('GET', name)
    reply[at] = lookup
    if lookup then ways[#ways + 1] = texts(lookup) end
end
-- Of nobody: nothing ever stands under such names.
if #ways == 0 then ways[1] = {} end
for _, way in ipairs(ways) do
    local home = 'kg1:{' .. (way[realm_tag] or '') .. '/' .. (way[account_tag] or '') .. '}:'
    local id = way[key_tag] or ''
    local account = call('GET', home .. 'a')
    reply[#reply + 1] = account
    reply[#reply + 1] = organizations(way[realm_tag] or '', account)
    reply[#reply + 1] = call('HGET', home .. 'k', id)
    reply[#reply + 1] = call('HGET', home .. 'h', id)
    if ARGV[1] == '1' then reply[#reply + 1] = call('HGET', home .. 'u', id) end
end
return reply
