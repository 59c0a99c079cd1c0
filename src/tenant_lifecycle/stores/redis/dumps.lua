-- What the copier reads: for each key its type, when it expires, its size in memory, and its dump.
--
-- KEYS: the keys.  ARGV: size from which a key is big and not dumped; bytes after which to stop.
-- Returns one entry per key, as far as the bytes reach, the first in any case: {'none'} or
-- {type, absolute expiry in ms or -1, bytes, dump or false}.
local big, budget = tonumber(ARGV[1]), tonumber(ARGV[2])
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
    local left, expiry = redis.call('PTTL', key), -1
    if left >= 0 then
      local now = redis.call('TIME')
      expiry = now[1] * 1000 + math.floor(now[2] / 1000) + left
    end
    out[i] = {kind, expiry, size, size <= big and redis.call('DUMP', key)}
  end
end
return out
