local h = ask('r', unpack(FIGURES))
local d = dead(h) if d then return d end
return figures({'loaded', int(now), '', h.v, h.r}, h, num(h.pend), num(h.lost), num(h.qb))
