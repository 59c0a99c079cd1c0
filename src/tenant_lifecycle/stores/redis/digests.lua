-- What the comparison reads: the same facts as seen by other code, and a digest instead of the value.
--
-- KEYS: the token's key if a token is given, then the keys.
-- ARGV: size from which a key is big and not digested; bytes after which to stop; token or ''.
-- The last ten bytes of a dump are its format's version and a checksum; without them equal values of two
-- versions may have equal digests. (Unequal digests prove nothing: encodings and orders differ.)
-- Returns the time in ms, then one entry per key as far as the bytes reach: {'none'} or
-- {type, absolute expiry in ms or -1, bytes, SHA-1 or ''}.
local function clock()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

local first = 1
if ARGV[3] ~= '' then
  first = 2
  local seen = tonumber(redis.call('GET', KEYS[1]) or '-1')
  if seen > tonumber(ARGV[3]) then return redis.error_reply('TLFENCED a newer driver token was seen') end
  -- Full memory is no reason not to look; whatever writes afterwards looks at the token again.
  if seen < tonumber(ARGV[3]) then redis.pcall('SET', KEYS[1], ARGV[3]) end
end
local big, budget, spent = tonumber(ARGV[1]), tonumber(ARGV[2]), 0
local out = {clock()}
for i = first, #KEYS do
  local key = KEYS[i]
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then
    out[#out + 1] = {kind}
  else
    local bytes = redis.call('MEMORY', 'USAGE', key) or 0
    local digest = ''
    if bytes <= big then
      if spent > 0 and spent + bytes > budget then break end
      spent = spent + bytes
      digest = redis.sha1hex(string.sub(redis.call('DUMP', key), 1, -11))
    end
    local left = redis.call('PTTL', key)
    out[#out + 1] = {kind, left < 0 and -1 or clock() + left, bytes, digest}
  end
end
return out
