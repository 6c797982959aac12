-- token, record, time-out in ms, capacity, created in µs, owner's number or '', least level, n, (level, json) * n
local h = ask('o')
if num(h.f) > FORMAT then return {'newer', int(now), '', h.f} end
if h['end'] or h.v then
  local made = h.v and string.find(' ' .. h.o, ' ' .. A[3] .. ' ', 1, true)
  return {made and 'made' or 'taken', int(now), ''}
end
h.T = A[5]
local q = {created = tonumber(A[7]), seq = 0, bytes = 0, pend = 0, untold = 0, lost = 0, delivered = 0}
append(q, 11, tonumber(A[10]), tonumber(A[6]))
local u = int(now + A[5] * 1000)
redis.call('HSET', S, 'f', FORMAT, 'v', A[3], 'o', A[3] .. ' ', 'r', A[4], 'T', A[5], 'cap', A[6], 'c', A[7], 'w', A[8],
  'least', A[9], 'u', u, 'x', u, 'seq', int(q.seq), 'pend', int(q.pend), 'qb', int(q.bytes), 'un', int(q.untold),
  'lost', int(q.lost), 'dl', int(q.delivered))
keep(h)
return {'made', int(now), ''}
