-- Before every script. KEYS: the session's hash and list. ARGV: prefix of all keys and channels, id, the script's own, and at
-- last when the caller connected.
-- Every reply: what became of it, now, and the new score in the index of deadlines where that has moved far enough, else ''.
local S, Q, A = KEYS[1], KEYS[2], ARGV
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local FORMAT, REMEMBERED = 1, 600000
-- What Redis has lost it lost before that: a rollback ends all connections. No position from before it is given out again.
local connected = tonumber(A[#A])

-- Numbers beyond 10^14 as text: tostring rounds them.
local function int(n) return string.format('%.0f', n) end
local function num(x) return tonumber(x) or 0 end

-- What is known of it. Numbers that every session has are one field, `m`: a field of a hash costs 70 bytes.
--   f format, T time-out in ms, cap capacity, c created (µs), u dead at (µs), x score in the index, w owner's number or -,
--   least level, seq newest position, dl delivered or lost up to there, pend pending, un lost and untold, lost in all,
--   qb bytes of texts, sn streams so far, ep newest epoch, b at work until
-- The others: v version, r record, o newest commits of the last writers, st open connections, runs and gone (see below), told a
-- warning that was handed out, cut a stream, turn who goes first, io ia il attempts by others.
local NUMBERS = {'f', 'T', 'cap', 'c', 'u', 'x', 'w', 'least', 'seq', 'dl', 'pend', 'un', 'lost', 'qb', 'sn', 'ep', 'b'}
local h, is_number = {}, {}
for _, name in ipairs(NUMBERS) do is_number[name], h[name] = true, '0' end
local function ask(...)
  local names = {'v', 'end', 'm', ...}
  for i, value in ipairs(redis.call('HMGET', S, unpack(names))) do h[names[i]] = value end
  local i = 1
  for value in string.gmatch(h.m or '', '[^ ]+') do
    if NUMBERS[i] then h[NUMBERS[i]] = value end
    i = i + 1
  end
end

-- Why nothing can be done with it; nil where something can.
local function owner() return h.w ~= '-' and h.w or '' end
local function dead()
  if num(h.f) > FORMAT then return {'newer', int(now), '', h.f} end
  if h['end'] then
    local reason, at, of = string.match(h['end'], '^(%a+) (%d+) ?(%d*)$')
    return {'gone', int(now), '', reason, at, of}
  end
  if not h.v then return {'gone', int(now), '', '', int(math.floor(now / 1000)), ''} end
  if num(h.u) <= now then return {'gone', int(now), '', 'expired', int(math.floor(h.u / 1000)), owner()} end
end

-- What is to be written.
local set = {}
local function put(name, value)
  if is_number[name] then h[name] = value else set[#set + 1] = name set[#set + 1] = value end
end
local function write()
  local numbers = {}
  for i, name in ipairs(NUMBERS) do numbers[i] = h[name] end
  set[#set + 1] = 'm' set[#set + 1] = table.concat(numbers, ' ')
  redis.call('HSET', S, unpack(set))
  -- The keys live on after the session's time-out, so that it can be told that it has expired.
  redis.call('PEXPIRE', S, tonumber(h.T) + REMEMBERED)
  redis.call('PEXPIRE', Q, tonumber(h.T) + REMEMBERED)
end

-- It is used now. Returns the new score.
local function alive()
  local T = tonumber(h.T)
  local u, score = now + T * 1000, ''
  put('u', int(u))
  if u - num(h.x) > T * 1000 / 16 then
    score = int(u)
    put('x', score)
  end
  return score
end

-- Open connections, oldest epoch first: 'epoch:stream:replica:lease;'.
local function connections(text)
  local open = {}
  for e, n, r, l in string.gmatch(text or '', '(%d+):(%d+):(%x+):(%d+);') do
    open[#open + 1] = {e = tonumber(e), n = n, r = r, l = tonumber(l)}
  end
  return open
end
local function packed(open)
  local text = {}
  for i, one in ipairs(open) do text[i] = int(one.e) .. ':' .. one.n .. ':' .. one.r .. ':' .. int(one.l) .. ';' end
  return table.concat(text)
end
-- The one with the right to what is pending.
local function newest(open)
  for i = #open, 1, -1 do if open[i].l > now then return open[i] end end
end
local function wake(replica) redis.call('PUBLISH', A[1] .. 'w:' .. replica, A[2]) end

-- Which stream had what is held, and delivered: 'last position:stream;'.
local function deliveries(text)
  local runs = {}
  for to, stream in string.gmatch(text or '', '(%d+):(%d+);') do runs[#runs + 1] = {to = tonumber(to), n = stream} end
  return runs
end
local function packed_deliveries(runs)
  local text = {}
  for i, run in ipairs(runs) do text[i] = int(run.to) .. ':' .. run.n .. ';' end
  return table.concat(text)
end

-- What streams had, and was pushed out since: 'stream:last position:count;'.
local function losses(text)
  local gone = {}
  for n, to, count in string.gmatch(text or '', '(%d+):(%d+):(%d+);') do
    gone[#gone + 1] = {n = n, to = tonumber(to), count = tonumber(count)}
  end
  return gone
end
local function packed_losses(gone)
  local text = {}
  for i, run in ipairs(gone) do text[i] = run.n .. ':' .. int(run.to) .. ':' .. int(run.count) .. ';' end
  return table.concat(text)
end

-- Items of the list: 'position level json'.
local function item(text)
  local position, level, json = string.match(text, '^(%d+) (%d+) (.*)$')
  return tonumber(position), tonumber(level), json
end

local FIGURES = {'st', 'io', 'ia', 'il'}
-- Appends what the store counts itself.
local function figures(reply, pending, lost, bytes)
  local open = 0
  for _, one in ipairs(connections(h.st)) do if one.l > now then open = open + 1 end end
  for _, figure in ipairs({int(pending), int(redis.call('LLEN', Q)), int(lost), int(bytes), int(open), h.io or '0', h.ia or '0', h.il or ''}) do
    reply[#reply + 1] = figure
  end
  return reply
end

-- Appends n messages that are in ARGV from `from`, level and text in turn. `q` has what the queue counts.
local function append(q, from, n, cap)
  local items = {}
  for i = 0, n - 1 do
    q.seq = math.max(q.seq + 1, connected, q.created + 1)
    items[#items + 1] = int(q.seq) .. ' ' .. A[from + 2 * i] .. ' ' .. A[from + 2 * i + 1]
    q.bytes = q.bytes + #A[from + 2 * i + 1]
    if #items == 1000 or i == n - 1 then
      redis.call('RPUSH', Q, unpack(items))
      items = {}
    end
  end
  q.pend = q.pend + n
  local held = redis.call('LLEN', Q)
  if held <= cap then return end
  local runs, gone = deliveries(q.runs), losses(q.gone)
  while held > cap do
    local position, _, json = item(redis.call('LPOP', Q))
    if held > q.pend then
      while runs[1] and runs[1].to < position do table.remove(runs, 1) end
      local stream = runs[1] and runs[1].n or '0'
      if runs[1] and runs[1].to == position then table.remove(runs, 1) end
      local last = gone[#gone]
      if last and last.n == stream then
        last.to, last.count = position, last.count + 1
      else
        if #gone == 8 then table.remove(gone, 1) end
        gone[#gone + 1] = {n = stream, to = position, count = 1}
      end
    else
      q.untold, q.lost, q.pend, q.delivered = q.untold + 1, q.lost + 1, q.pend - 1, position
    end
    q.bytes, held = q.bytes - #json, held - 1
  end
  q.runs, q.gone = packed_deliveries(runs), packed_losses(gone)
end
