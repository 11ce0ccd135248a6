-- Sends the requests of a file in rotation. A line of it is: PATH [TOKEN].
-- usage: wrk -s tokens.lua URL -- REQUESTS [close]
-- Prints "RESULT {...}" at the end: wrk's own counters (its "status" counts answers of 400 and above) and latencies in µs.
local requests, next_one = {}, 0

function init(args)
  for line in io.lines(args[1]) do
    local path, token = line:match("^(%S+)%s*(%S*)$")
    local headers = { Host = "loadtest.example" }
    if args[2] == "close" then headers.Connection = "close" end
    if token ~= "" then headers.Authorization = "Bearer " .. token end
    requests[#requests + 1] = wrk.format("GET", path, headers)
  end
end

function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"duration_us":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,"p50_us":%d,"p99_us":%d,"max_us":%d}\n',
    summary.requests, summary.duration, errors.connect, errors.read, errors.write, errors.status, errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
