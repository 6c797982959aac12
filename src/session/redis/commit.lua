-- token, expected, not after, attempt, least level, record, n, (level, json) * n
ask('o', 'runs', 'gone', 'turn', unpack(FIGURES))
local d = dead() if d then return d end
local token, expected = A[3], A[4]
local me = string.match(token, '^%x+%.')
local function reply(kind, score, q)
  return figures({kind, int(now), score, kind == 'kept' and token or h.v}, q and q.pend or num(h.pend), q and q.lost or num(h.lost), q and q.bytes or num(h.qb))
end
if string.find(' ' .. h.o, ' ' .. token .. ' ', 1, true) then return reply('again', '') end
if tonumber(A[5]) < now then return {'late', int(now), ''} end
-- Who has lost for long may go first, for a moment.
local who, till = string.match(h.turn or '', '^(%x+%.)@(%d+)$')
local barred = who and who ~= me and tonumber(till) > now
if h.v ~= expected or barred then
  if tonumber(A[6]) >= 3 and not barred then redis.call('HSET', S, 'turn', me .. '@' .. int(now + 50000)) end
  local answer = reply('conflict', '')
  answer[#answer + 1] = redis.call('HGET', S, 'r')
  return answer
end
local q = {created = num(h.c), seq = num(h.seq), bytes = num(h.qb), pend = num(h.pend), untold = num(h.un), lost = num(h.lost), delivered = num(h.dl), runs = h.runs, gone = h.gone}
local least = tonumber(A[7])
if least ~= num(h.least) and q.pend > 0 then
  -- What is pending below the level is no longer wanted.
  local kept, dropped = {}, false
  for _, text in ipairs(redis.call('LRANGE', Q, -q.pend, -1)) do
    local _, level, json = item(text)
    if level >= least then kept[#kept + 1] = text else dropped, q.bytes = true, q.bytes - #json end
  end
  if dropped then
    redis.call('LTRIM', Q, 0, -q.pend - 1)
    for i = 1, #kept, 1000 do redis.call('RPUSH', Q, unpack(kept, i, math.min(i + 999, #kept))) end
    q.pend = #kept
  end
end
local n = tonumber(A[9])
if n > 0 then append(q, 10, n, tonumber(h.cap)) end
local score = alive()
put('v', token) put('r', A[8]) put('least', A[7])
put('seq', int(q.seq)) put('dl', int(q.delivered)) put('pend', int(q.pend)) put('un', int(q.untold)) put('lost', int(q.lost))
put('qb', int(q.bytes))
if q.runs ~= h.runs then put('runs', q.runs) end
if q.gone ~= h.gone then put('gone', q.gone) end
-- The newest commit of each of the last eight writers.
local writers, count = token .. ' ', 1
for one in string.gmatch(h.o, '[^ ]+') do
  if string.sub(one, 1, #me) ~= me and count < 8 then writers, count = writers .. one .. ' ', count + 1 end
end
put('o', writers)
write()
if who then redis.call('HDEL', S, 'turn') end
if n > 0 then
  local first = newest(connections(h.st))
  -- The writer wakes its own.
  if first and first.r .. '.' ~= me then wake(first.r) end
end
return reply('kept', score, q)
