-- Applies a change to one account as a whole, if the account carries the mark that the change was computed from.
--
-- KEYS  1 the account's record  2 live keys  3 ended keys  4 live ids  5 ended ids  6 audit events  7 entries
--       8 names of entries  9.. the bar of every new lookup, then the idempotency record, if the act is remembered
-- ARGV  1 the expected mark, 16 bytes; empty: the account must not exist
--       2 the account's new record  3 number of keys ended  4 number of keys written
--       5 the idempotency record  6 when it may be forgotten, in milliseconds since 1970
--       7 number of bars  8 number of entries removed  9 number of entries written
--       then id and record of every ended key, id and record of every written key, the field of every removed entry,
--       field and record of every written entry, every audit event
-- reply 1 applied, 0 the account carries another mark, or somebody barred a lookup and took it

local call = redis.call
local account, live, ended, live_ids, ended_ids, events = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local entries, entry_names = KEYS[7], KEYS[8]
if call('GETRANGE', account, 0, 15) ~= ARGV[1] then return 0 end

local idempotency = KEYS[9 + ARGV[7]]
for at = 9, 8 + ARGV[7] do
    if call('GET', KEYS[at]) then return 0 end
end

local first_ended = 10
local first_put = first_ended + 2 * ARGV[3]
local first_removed = first_put + 2 * ARGV[4]
local first_entry = first_removed + ARGV[8]
local first_event = first_entry + 2 * ARGV[9]

-- Removals come first. They succeed on a full server, and a script that has written once may go on writing: so ending a
-- key works when there is no room left, with its history and its audit event. A change that ends nothing begins with a
-- write that a full server refuses, before anything was changed.
for at = first_ended, first_put - 1, 2 do
    call('HDEL', live, ARGV[at])
    call('ZREM', live_ids, ARGV[at])
end
for at = first_removed, first_entry - 1 do
    call('HDEL', entries, ARGV[at])
    call('ZREM', entry_names, ARGV[at])
end

for at = first_put, first_removed - 1, 2 do
    call('HSET', live, ARGV[at], ARGV[at + 1])
    call('ZADD', live_ids, 0, ARGV[at])
end
for at = first_ended, first_put - 1, 2 do
    call('HSET', ended, ARGV[at], ARGV[at + 1])
    call('ZADD', ended_ids, 0, ARGV[at])
end
for at = first_entry, first_event - 1, 2 do
    call('HSET', entries, ARGV[at], ARGV[at + 1])
    call('ZADD', entry_names, 0, ARGV[at])
end
for at = first_event, #ARGV do
    call('RPUSH', events, ARGV[at])
end
if idempotency then
    call('SET', idempotency, ARGV[5], 'PXAT', ARGV[6])
end
call('SET', account, ARGV[2])
return 1
