-- reason, not used since that (µs) or ''
ask('st')
local d = dead() if d then return d end
if A[4] ~= '' and (tonumber(h.u) > A[4] + h.T * 1000 or num(h.b) > now or newest(connections(h.st))) then
  return {'used', int(now), ''}
end
local at = int(math.floor(now / 1000))
redis.call('DEL', S, Q)
redis.call('HSET', S, 'end', A[3] .. ' ' .. at .. ' ' .. owner())
redis.call('PEXPIRE', S, REMEMBERED)
redis.call('PUBLISH', A[1] .. 'ctl', 'end ' .. A[2] .. ' ' .. A[3] .. ' ' .. at .. ' ' .. owner())
return {'ended', int(now), ''}
