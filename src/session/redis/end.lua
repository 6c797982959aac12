-- reason, not used since that (µs) or ''
local h = ask('st', 'b')
local d = dead(h) if d then return d end
if A[4] ~= '' and (tonumber(h.u) > A[4] + h.T * 1000 or num(h.b) > now or newest(connections(h.st))) then
  return {'used', int(now), ''}
end
local at = int(math.floor(now / 1000))
redis.call('DEL', S, Q)
redis.call('HSET', S, 'f', FORMAT, 'end', A[3], 'at', at, 'w', h.w or '')
redis.call('PEXPIRE', S, REMEMBERED)
redis.call('PUBLISH', A[1] .. 'ctl', 'end ' .. A[2] .. ' ' .. A[3] .. ' ' .. at .. ' ' .. (h.w or ''))
return {'ended', int(now), ''}
