-- Keys that begin with one of some texts, found without the server's glob matching.
--
-- ARGV: where to go on; buckets a step; most steps; the texts.
-- Returns where to go on ('0': the end was reached) and the keys; a key may come twice while the server
-- resizes its table.
local starts, lengths = {}, {}
for i = 4, #ARGV do
  if not starts[ARGV[i]] then
    starts[ARGV[i]] = true
    lengths[#ARGV[i]] = true
  end
end
local cursor, found = ARGV[1], {}
for _ = 1, tonumber(ARGV[3]) do
  local page = redis.call('SCAN', cursor, 'COUNT', ARGV[2])
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    for length in pairs(lengths) do
      if starts[string.sub(key, 1, length)] then
        found[#found + 1] = key
        break
      end
    end
  end
  if cursor == '0' then break end
end
return {cursor, found}
