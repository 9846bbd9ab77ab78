-- Moves jobs that wait in the queue of stock arq workers to the lanes of their flows, each at its place. What a stock
-- worker runs is left to it: it hands it back there, or its hold on it runs out there.
-- KEYS  stock queue, click queue, batch queue
-- ARGV  prefix of flow keys, how many jobs to pass over, how many to look at
-- Answers how many it took from the stock queue, and how many it left.
local STOCK_HOLD = '1'
local stock, flow_prefix, first = KEYS[1], ARGV[1], tonumber(ARGV[2])
expect(stock, 'zset')
local page = redis.call('ZRANGE', stock, number(first), number(first + tonumber(ARGV[3]) - 1), 'WITHSCORES')
if #page == 0 then
  return { 0, 0 }
end
local lanes, now, held = lanes_of(KEYS[2], KEYS[3]), now_ms(), {}
for i = 1, #page, 2 do
  held[#held + 1] = RUNNING .. page[i]
end
held = redis.call('MGET', unpack(held))

-- The finish of a run, the night, and what is nobody's belong to no flow.
local function lane_for(id)
  local kind, flow_id = string.match(id, '^(%a+):([^:]+)')
  local flow = (kind == 'split' or kind == 'chunk' or kind == 'reduce')
    and redis.pcall('HMGET', flow_prefix .. flow_id, 'state', 'lane', 'kind')
  return flow and flow[1] and lane_of(flow[2], flow[3]) or 'batch'
end

local taken, left, moved, members = {}, 0, {}, { click = {}, batch = {} }
for i = 1, #page, 2 do
  local id, in_lane = page[i], in_lanes(lanes, page[i])
  if held[(i + 1) / 2] == STOCK_HOLD and not in_lane then
    left = left + 1
  else
    taken[#taken + 1] = id
    -- Who made it here may not have known of the lanes, and have missed it there.
    if not in_lane then
      local some = members[lane_for(id)]
      some[#some + 1] = tonumber(page[i + 1]) < CLAIMED and page[i + 1] or number(now)
      some[#some + 1] = id
      moved[#moved + 1] = id
    end
  end
end
if #taken > 0 then
  redis.call('ZREM', stock, unpack(taken))
end
for _, lane in ipairs({ 'click', 'batch' }) do
  if #moved > 0 then
    -- Those that are claimed there, but under no lease.
    redis.call('ZREM', lanes[lane], unpack(moved))
  end
end
for lane, some in pairs(members) do
  if #some > 0 then
    redis.call('ZADD', lanes[lane], unpack(some))
    wake(lanes[lane], #some / 2)
  end
end
return { #taken, left }
