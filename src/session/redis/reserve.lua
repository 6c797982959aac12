-- The index of deadlines, a key of its own. ARGV: id, time-out in ms, most sessions, how many others to name
local ix, A = KEYS[1], ARGV
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function int(n) return string.format('%.0f', n) end
redis.call('ZREMRANGEBYSCORE', ix, '-inf', int(now))
redis.call('ZADD', ix, int(now + A[2] * 1000), A[1])
if redis.call('ZCARD', ix) <= tonumber(A[3]) then return {int(now), {}} end
return {int(now), redis.call('ZRANGE', ix, 0, A[4] - 1, 'WITHSCORES')}
