ask('r', unpack(FIGURES))
local d = dead() if d then return d end
return figures({'loaded', int(now), '', h.v, h.r}, num(h.pend), num(h.lost), num(h.qb))
