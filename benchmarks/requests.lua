-- wrk's script: sends the requests of a file in turn, one a line: method, path, token, ETag or "-", body or "-".
-- Prints: requests, seconds, p50 and p99 in ms, errors.

local requests, turn = {}, 0

function init(arguments)
  for line in io.lines(arguments[1]) do
    local method, path, token, etag, body = line:match("^(%S+) (%S+) (%S+) (%S+) (.+)$")
    local headers = { ["Authorization"] = "Token " .. token }
    if etag ~= "-" then headers["If-None-Match"] = etag end
    if body ~= "-" then headers["Content-Type"] = "application/json" else body = nil end
    requests[#requests + 1] = wrk.format(method, path, headers, body)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency, _)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("RESULT %d %f %f %f %d\n", summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, failed))
end
