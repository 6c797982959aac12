-- for how long it is at work, in ms, unless there is another sign of life
ask()
local d = dead() if d then return d end
local score = alive()
put('b', int(now + A[3] * 1000))
write()
return {'done', int(now), score}
