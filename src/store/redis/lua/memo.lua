-- Writes a memo, or removes it, if what stands there is as expected.
--
-- KEYS  1 the memos of a shelf  2 their names
-- ARGV  1 the name  2 whether anything may stand there, 1 or 0  3 what must stand there, empty: nothing
--       4 what shall stand there, empty: nothing
-- reply 1 done, 0 something else stands there

local call = redis.call
if ARGV[2] ~= '1' and (call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[3] then return 0 end
if ARGV[4] == '' then
    call('HDEL', KEYS[1], ARGV[1])
    call('ZREM', KEYS[2], ARGV[1])
else
    call('HSET', KEYS[1], ARGV[1], ARGV[4])
    call('ZADD', KEYS[2], 0, ARGV[1])
end
return 1
