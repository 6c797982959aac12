-- token, record, time-out in ms, capacity, created in µs, owner's number or '', least level, n, (level, json) * n
ask('o')
if num(h.f) > FORMAT then return {'newer', int(now), '', h.f} end
if h['end'] or h.v then
  local made = h.v and string.find(' ' .. h.o, ' ' .. A[3] .. ' ', 1, true)
  return {made and 'made' or 'taken', int(now), ''}
end
local q = {created = tonumber(A[7]), seq = 0, bytes = 0, pend = 0, untold = 0, lost = 0, delivered = 0}
append(q, 11, tonumber(A[10]), tonumber(A[6]))
put('f', FORMAT) put('T', A[5]) put('cap', A[6]) put('c', A[7]) put('w', A[8] ~= '' and A[8] or '-') put('least', A[9])
put('seq', int(q.seq)) put('dl', int(q.delivered)) put('pend', int(q.pend)) put('un', int(q.untold)) put('lost', int(q.lost))
put('qb', int(q.bytes))
put('v', A[3]) put('o', A[3] .. ' ') put('r', A[4])
alive()
write()
return {'made', int(now), ''}
