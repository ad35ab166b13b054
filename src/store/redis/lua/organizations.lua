-- Before the scripts that read accounts: the records of the organizations that an account is a member of.

-- A number of seven bits a byte, and where the next thing begins.
local function number(record, at)
    local value, scale = 0, 1
    repeat
        local byte = record:byte(at) or 0
        value, scale, at = value + byte % 128 * scale, scale * 128, at + 1
    until byte < 128
    return value, at
end

-- By the record of type `Account`: a mark, a version, a seal, then the message. Whoever asked checks the seals of all of them.
local function organizations(realm, record)
    local found, at = {}, 34
    while record and at <= #record and #found < 64 do
        local tag, length
        tag, at = number(record, at)
        length, at = number(record, at)
        if tag % 8 == 2 then
            if tag == 58 then
                local name = record:sub(at, at + length - 1)
                found[#found + 1] = redis.call('GET', 'kg1:{' .. realm .. '/' .. name .. '}:a')
            end
            at = at + length
        end
    end
    return found
end

