-- Load for wrk: users in turn, by a GET for each or by a POST for many; the figures as JSON on the last line.
-- Arguments: the number of users in a request, and what follows the path.
local at, count, rest = 0, 1, ""

function init(args)
  count, rest = tonumber(args[1]), args[2] or ""
end

function user()
  at = (at + 1) % 500
  return string.format("%06d", at)
end

function request()
  if count == 1 then
    return wrk.format("GET", "/v1/users/" .. user() .. "/recommendations" .. rest)
  end
  local users = {}
  for number = 1, count do
    users[number] = '"' .. user() .. '"'
  end
  local body = '{"users": [' .. table.concat(users, ", ") .. "]}"
  return wrk.format("POST", "/v1/recommendations", {["content-type"] = "application/json"}, body)
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "median_ms": %f, "p99_ms": %f, "errors": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
