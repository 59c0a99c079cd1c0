-- What the comparison reads: the same facts as seen by other code, and a digest instead of the value.
--
-- KEYS: the token's key if a token is given, then the keys.
-- ARGV: size from which a key is big and not digested; bytes after which to stop; token or ''.
--
-- Hashes and sets of moderate length are digested by their members in order, because their dumps depend on a
-- random seed; everything else by its dump, without the last ten bytes: its format's version and a checksum.
-- So equal digests mean equal values. Unequal ones prove nothing: encodings differ.
--
-- Returns the time in ms, and as far as the bytes reach, each as one text with a word per key: types ('none':
-- not there), absolute expiries in ms or -1, bytes, and digests, '-' where there is none.
local SORTED = 1000

local function clock()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

local function framed(words)
  for i, word in ipairs(words) do words[i] = #word .. ':' .. word end
  return redis.sha1hex(table.concat(words))
end

local function digest(kind, key)
  if kind == 'set' and redis.call('SCARD', key) <= SORTED then
    local members = redis.call('SMEMBERS', key)
    table.sort(members)
    return framed(members)
  elseif kind == 'hash' and redis.call('HLEN', key) <= SORTED then
    local flat, names, values = redis.call('HGETALL', key), {}, {}
    for i = 1, #flat, 2 do
      names[#names + 1] = flat[i]
      values[flat[i]] = flat[i + 1]
    end
    table.sort(names)
    local words = {}
    for _, name in ipairs(names) do
      words[#words + 1] = name
      words[#words + 1] = values[name]
    end
    return framed(words)
  end
  return redis.sha1hex(string.sub(redis.call('DUMP', key), 1, -11))
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
local kinds, expiries, sizes, digests = {}, {}, {}, {}
for i = first, #KEYS do
  local key, n = KEYS[i], #kinds + 1
  local kind = redis.call('TYPE', key).ok
  local bytes = kind == 'none' and 0 or redis.call('MEMORY', 'USAGE', key) or 0
  if bytes <= big then
    if spent > 0 and spent + bytes > budget then break end
    spent = spent + bytes
  end
  local left = kind == 'none' and -1 or redis.call('PTTL', key)
  kinds[n] = kind
  expiries[n] = left < 0 and '-1' or string.format('%.0f', clock() + left)
  sizes[n] = string.format('%.0f', bytes)
  digests[n] = (kind == 'none' or bytes > big) and '-' or digest(kind, key)
end
return {
  clock(), table.concat(kinds, ' '), table.concat(expiries, ' '), table.concat(sizes, ' '), table.concat(digests, ' ')
}
