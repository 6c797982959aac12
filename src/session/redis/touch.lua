-- for how long it is at work, in ms, unless there is another sign of life
local h = ask()
local d = dead(h) if d then return d end
local set, score = alive(h)
put(set, 'b', int(now + A[3] * 1000))
write(set)
keep(h)
return {'done', int(now), score}
