-- Every write of ours: some commands, carried out only if no newer driver was here.
--
-- KEYS: the token's key, then every key that the commands name.
-- ARGV: the token; 'stop' or 'go on' after a command that failed; then each command as the number of its words and its words.
-- Returns one item per command that was tried: the error's text if it failed, else 0 or the number it answered.
--
-- A server whose memory is full refuses to keep a newer token, but must let us delete: then the token is kept
-- after the deletion, when a script may store again.
local seen, token = tonumber(redis.call('GET', KEYS[1]) or '-1'), tonumber(ARGV[1])
if seen > token then return redis.error_reply('TLFENCED a newer driver token was seen') end
local full = seen < token and redis.pcall('SET', KEYS[1], ARGV[1]).err
if full and ARGV[4] ~= 'UNLINK' then return redis.error_reply(full) end
local out, at = {}, 3
while at <= #ARGV do
  local words = tonumber(ARGV[at])
  local reply = redis.pcall(unpack(ARGV, at + 1, at + words))
  if type(reply) == 'table' and reply.err then
    out[#out + 1] = reply.err
    if ARGV[2] == 'stop' then break end
  else
    out[#out + 1] = type(reply) == 'number' and reply or 0
  end
  at = at + words + 1
end
if full then redis.call('SET', KEYS[1], ARGV[1]) end
return out
