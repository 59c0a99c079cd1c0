-- What a backup reads: for each key its type, the exact moment it expires, its size in memory, and what it holds.
--
-- KEYS: the keys.  ARGV: size from which a key is big and not read; bytes after which to stop.
-- Returns one entry per key, as far as the bytes reach, the first in any case: {'none'} or
-- {type, absolute expiry in ms as text, '' if there is none, bytes, content or false}. Content is what GET, LRANGE,
-- SMEMBERS, HGETALL and ZRANGE WITHSCORES answer; of other types the dump; streams are never read here.
local big, budget = tonumber(ARGV[1]), tonumber(ARGV[2])

local function ms()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

-- A server before 7.0 tells what is left, not the moment: both have to be read within one millisecond.
local function expiry(key)
  local moment = redis.pcall('PEXPIRETIME', key)
  if type(moment) == 'number' then return moment < 0 and '' or string.format('%.0f', moment) end
  for _ = 1, 1000 do
    local before = ms()
    local left = redis.call('PTTL', key)
    if left < 0 then return '' end
    if ms() == before then return string.format('%.0f', before + left) end
  end
  return redis.error_reply('TLCLOCK the clock does not stand still for a millisecond')
end

local function content(kind, key)
  if kind == 'string' then return redis.call('GET', key) end
  if kind == 'list' then return redis.call('LRANGE', key, 0, -1) end
  if kind == 'set' then return redis.call('SMEMBERS', key) end
  if kind == 'hash' then return redis.call('HGETALL', key) end
  if kind == 'zset' then return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end
  if kind == 'stream' then return false end
  return redis.call('DUMP', key)
end

local spent, out = 0, {}
for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then
    out[i] = {kind}
  else
    local size = redis.call('MEMORY', 'USAGE', key) or 0
    if size <= big then
      if spent > 0 and spent + size > budget then break end
      spent = spent + size
    end
    local moment = expiry(key)
    if type(moment) == 'table' then return moment end
    out[i] = {kind, moment, size, size <= big and content(kind, key)}
  end
end
return out
