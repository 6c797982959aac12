-- field of the count
ask()
local d = dead() if d then return d end
redis.call('HINCRBY', S, A[3], 1)
redis.call('HSET', S, 'il', int(math.floor(now / 1000)))
return {'done', int(now), ''}
