-- Checks one request against every limit that applies and charges all of them or none.
--
-- KEYS  the record of every account that the request rests on; then one counter for each limit
-- ARGV  1: the mark of each of those accounts that the caller read, 16 bytes each; zeros: there was none
--       2: charging (1 byte), then for each limit
--          bucket_us (8) | limit (4) | buckets (4) | shadow (1) | cost (4); numbers are big-endian
-- reply {server time in microseconds, 0}: one of the accounts changed, nothing was charged
--       {server time in microseconds, 1, then for each limit: admits, used, reset_us, retry_us or -1}
--
-- A counter is one string: index of the current bucket (8) | sum of what counts (4) | cost in the current bucket (4) |
-- a ring of buckets + 1 costs (4 each), by bucket index modulo the ring's length. The ring's own place for the current
-- bucket is filled only when the window moves on, so a charge in the same bucket reads and writes 16 bytes.

local call, unpack, pack, floor = redis.call, struct.unpack, struct.pack, math.floor
local stamps, plan = ARGV[1], ARGV[2]
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]

local fences = #stamps / 16
for n = 1, fences do
    local mark = call('GETRANGE', KEYS[n], 0, 15)
    if mark == '' then mark = ('\0'):rep(16) end
    if mark ~= stamps:sub(16 * n - 15, 16 * n) then return {now, 0} end
end

local HEAD = 16
local BROKEN = 'BROKENCOUNTER a counter is not what keygate wrote'

-- The cost of one bucket of a ring.
local function at(ring, index, length)
    return (unpack('>I4', ring, (index % length) * 4 + 1))
end

local function read_ring(window)
    local ring = call('GETRANGE', window.key, HEAD, -1)
    if #ring ~= window.length * 4 then return nil end
    return ring
end

-- Writes the current bucket into the ring and empties the buckets that left since. Returns the new ring and sum.
local function move(ring, length, stored, current, sum, index)
    local place, steps = stored % length, index - stored
    ring = ring:sub(1, place * 4) .. pack('>I4', current) .. ring:sub(place * 4 + 5)
    for step = 1, steps do sum = sum - at(ring, stored + step, length) end
    local first = (stored + 1) % length
    local past = first + steps - length
    if past <= 0 then
        return ring:sub(1, first * 4) .. ('\0'):rep(steps * 4) .. ring:sub((first + steps) * 4 + 1), sum
    end
    return ('\0'):rep(past * 4) .. ring:sub(past * 4 + 1, first * 4) .. ('\0'):rep((length - first) * 4), sum
end

-- Brings a window whose counter stands in an earlier bucket, or nowhere, to this instant. False: the counter is spoilt.
local function advance(window, head)
    window.index = floor(now / window.bucket_us)
    if #head == HEAD then
        local stored, sum, current = unpack('>I8I4I4', head)
        if window.index - stored < window.length then
            local ring = read_ring(window)
            if not ring then return false end
            window.ring, window.sum = move(ring, window.length, stored, current, sum, window.index)
        end
    elseif #head > 0 then
        return false
    end
    window.ring = window.ring or ('\0'):rep(window.length * 4)
    return true
end

-- Microseconds until the bucket of that age no longer counts.
local function leaves_in(window, age)
    local left = (window.index - age + window.length) * window.bucket_us - now
    return left > 0 and left or 0
end

local function reset_us(window)
    if window.sum == 0 then return 0 end
    if window.current > 0 then return leaves_in(window, 0) end
    for age = 1, window.length - 2 do
        if at(window.ring, window.index - age, window.length) > 0 then return leaves_in(window, age) end
    end
    return leaves_in(window, window.length - 1)
end

local function retry_us(window, cost)
    if cost > window.limit then return -1 end
    local excess = window.sum + cost - window.limit
    for age = window.length - 1, 1, -1 do
        local bucket = at(window.ring, window.index - age, window.length)
        if bucket >= excess then return leaves_in(window, age) end
        excess = excess - bucket
    end
    return window.current >= excess and leaves_in(window, 0) or -1
end

-- First look at every counter and change nothing.
local charging, offset = unpack('>B', plan)
local windows, count, passes = {}, #KEYS - fences, true
for n = 1, count do
    local key, bucket_us, limit, buckets, shadow, cost = KEYS[n + fences]
    bucket_us, limit, buckets, shadow, cost, offset = unpack('>I8I4I4BI4', plan, offset)
    local head = call('GETRANGE', key, 0, HEAD - 1)
    local index, sum, current = -1, 0, 0
    if #head == HEAD then index, sum, current = unpack('>I8I4I4', head) end
    -- Time may go back when a replica takes over; a counter never does: then its bucket is still the current one.
    local stored = index >= floor(now / bucket_us)
    local window = {
        key = key, bucket_us = bucket_us, limit = limit, length = buckets + 1, stored = stored, cost = cost,
        index = index, sum = stored and sum or 0, current = stored and current or 0, ring = false, admits = false,
    }
    if not stored and not advance(window, head) then return {err = BROKEN} end
    window.admits = window.sum + cost <= limit
    passes = passes and (window.admits or shadow == 1)
    windows[n] = window
end

-- The only thing that may fail halfway is a reading of the ring, so all of it comes before the first write.
local charges = passes and charging == 1
for n = 1, count do
    local window = windows[n]
    local charged = charges and window.admits and window.cost > 0
    local needs_ring = not window.admits or (not charged and window.sum > 0 and window.current == 0)
    if needs_ring and not window.ring then
        window.ring = read_ring(window)
        if not window.ring then return {err = BROKEN} end
    end
end

local reply = {now, 1}
for n = 1, count do
    local window, retry, last = windows[n], -1, 4 * n - 2
    if not window.admits then
        retry = retry_us(window, window.cost)
    elseif charges and window.cost > 0 then
        window.sum, window.current = window.sum + window.cost, window.current + window.cost
        local head = pack('>I8I4I4', window.index, window.sum, window.current)
        if window.stored then
            call('SETRANGE', window.key, 0, head)
        else
            -- The buckets' whole life, and one bucket more.
            local life_ms = math.ceil(window.bucket_us * (window.length + 1) / 1000)
            call('SET', window.key, head .. window.ring, 'PX', life_ms)
        end
    end
    reply[last + 1], reply[last + 2] = window.admits and 1 or 0, window.sum
    reply[last + 3], reply[last + 4] = reset_us(window), retry
end
return reply
