-- epoch, stream, position, most messages, lease in ms
ask('st', 'told', 'runs', 'gone', 'cut')
local d = dead() if d then return d end
local epoch, stream, position, most = tonumber(A[3]), A[4], tonumber(A[5]), tonumber(A[6])
local open, mine = connections(h.st), nil
for _, one in ipairs(open) do if one.e == epoch and one.n == stream then mine = one end end
-- The store has forgotten an epoch that it gave out, or another connection took this one's place.
if not mine then return {num(h.ep) < epoch and 'unregistered' or 'displaced', int(now), ''} end
mine.l = now + A[7] * 1000
local score = alive()
put('st', packed(open))
local function done(kind, ...)
  write()
  return {kind, int(now), score, ...}
end
local tells, gone, runs, cut = num(h.least) <= 3, losses(h.gone), deliveries(h.runs), h.cut
local function forget_cut() redis.call('HDEL', S, 'cut') cut = false end
if tells and cut == stream then forget_cut() end
if tells and h.gone then
  local to, missed = nil, 0
  for _, run in ipairs(gone) do
    if run.n == stream and run.to > position then to, missed = run.to, missed + math.min(run.count, run.to - position) end
  end
  if to then return done('gap', int(to), int(missed), h.lost or '0', h.cap) end
end
local pending = num(h.pend)
-- What `of` had of what is held and delivered, after `after`.
local function had(of, after, limit)
  local found, i = {}, 1
  for _, text in ipairs(redis.call('LRANGE', Q, 0, -pending - 1)) do
    local p, _, json = item(text)
    while runs[i] and runs[i].to < p do i = i + 1 end
    if p > after and runs[i] and runs[i].n == of and #found < limit * 2 then
      found[#found + 1] = int(p) found[#found + 1] = json
    end
  end
  return found
end
local has_had = false
for _, run in ipairs(runs) do has_had = has_had or (run.n == stream and run.to > position) end
if has_had then
  local again = had(stream, position, most)
  if #again > 0 then return done('taken', again, 1) end
end
local untold = num(h.un)
local at, many = string.match(h.told or '', '^(%d+):(%d+)$')
if at and position >= tonumber(at) then
  -- The connection has passed the warning: it was written.
  untold = math.max(untold - tonumber(many), 0)
  put('un', int(untold))
  redis.call('HDEL', S, 'told')
end
if newest(open) ~= mine then return done('taken', {}, 0) end
if cut then
  local of = cut
  forget_cut()
  local sent, lost = #had(of, 0, math.huge) / 2, 0
  for _, run in ipairs(gone) do if run.n == of then lost = lost + run.count end end
  if tells and sent + lost > 0 then return done('cut', of, int(sent), int(lost)) end
end
if untold > 0 and not tells then
  put('un', '0')
elseif untold > 0 and pending > 0 then
  -- Before the first pending one and after all others: an id of its own.
  local p = item(redis.call('LINDEX', Q, -pending)) - 1
  put('told', int(p) .. ':' .. int(untold))
  return done('lost', int(p), int(untold), h.lost or '0', h.cap)
end
local out, last = {}, nil
while pending > 0 and #out < most * 2 do
  for _, text in ipairs(redis.call('LRANGE', Q, -pending, math.min(-1, -pending + most - #out / 2 - 1))) do
    local p, _, json = item(text)
    pending, last = pending - 1, p
    -- What is not beyond its position the client has: the store has forgotten that it was delivered.
    if p > position then out[#out + 1] = int(p) out[#out + 1] = json end
  end
end
if last then
  if runs[#runs] and runs[#runs].n == stream then runs[#runs].to = last else runs[#runs + 1] = {to = last, n = stream} end
  put('runs', packed_deliveries(runs)) put('dl', int(last)) put('pend', int(pending))
end
return done('taken', out, pending > 0 and 1 or 0)
