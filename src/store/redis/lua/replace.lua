-- Replaces what a digest leads to, or removes it, if it is still what was read.
--
-- KEYS  1 the lookup
-- ARGV  1 what was read  2 what shall stand there; empty: nothing
-- reply 1 done, 0 something else stands there, nothing was changed

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], ARGV[2])
end
return 1
