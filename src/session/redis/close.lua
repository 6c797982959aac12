-- epoch, '1' where its client may be without what was sent
ask('st')
local d = dead() if d then return d end
local score = alive()
local open, replica = {}, nil
for _, one in ipairs(connections(h.st)) do
  if int(one.e) == A[3] then
    replica = one.r
    if A[4] == '1' then put('cut', one.n) end
  else
    open[#open + 1] = one
  end
end
put('st', packed(open))
write()
local first = newest(open)
if first and first.r ~= replica then wake(first.r) end
return {'done', int(now), score}
