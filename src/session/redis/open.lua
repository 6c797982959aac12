-- replica, lease in ms, stream or '', position, most connections, epoch or ''
ask('st')
local d = dead() if d then return d end
local score = alive()
local streams, stream, position, again, how = num(h.sn), tonumber(A[5]), num(A[6]), tonumber(A[8]), 'new'
if stream and stream >= 1 and stream <= streams and position <= num(h.seq) then
  how = 'resumed'
elseif stream and stream >= 1 and stream <= streams + 16 and (again or (num(h.c) < position and position <= now)) then
  -- Of a past that the store has lost: what came up to there the client has.
  how = 'foreign'
  if stream > streams then put('sn', int(stream)) end
else
  if stream then how = 'unknown' end
  stream = streams + 1
  -- Where a loss is still to be told, its warning has that position.
  position = num(h.dl) - (num(h.un) > 0 and 1 or 0)
  put('sn', int(stream))
end
local epoch = again or math.max(num(h.ep) + 1, now)
if epoch > num(h.ep) then put('ep', int(epoch)) end
local open, over = {}, {}
for _, one in ipairs(connections(h.st)) do
  if one.n ~= int(stream) then open[#open + 1] = one else over[#over + 1] = one end
end
open[#open + 1] = {e = epoch, n = int(stream), r = A[3], l = now + A[4] * 1000}
table.sort(open, function(a, b) return a.e < b.e end)
if #open > tonumber(A[7]) then over[#over + 1] = table.remove(open, 1) end
put('st', packed(open))
write()
for _, one in ipairs(over) do if one.r ~= A[3] then wake(one.r) end end
return {'opened', int(now), score, int(epoch), int(stream), int(position), how}
