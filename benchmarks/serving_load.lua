-- wrk script: POST the bodies of the file named first after "--", each with a transaction id of its own that begins with
-- the word named second; print what became of them as one JSON line.
local before, after = {}, {}
local bodies, sent, run = 0, 0, ""

function init(args)
  for line in io.lines(args[1]) do
    local first, last = string.find(line, "@ID@", 1, true)
    bodies = bodies + 1
    before[bodies], after[bodies] = string.sub(line, 1, first - 1), string.sub(line, last + 1)
  end
  run = args[2] .. "-"
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  local body = sent % bodies + 1
  sent = sent + 1
  return wrk.format("POST", nil, nil, before[body] .. run .. sent .. after[body])
end

function done(summary, latency, requests)
  local e = summary.errors
  local refused = e.connect + e.read + e.write + e.timeout + e.status
  io.write(string.format(
    '@@{"seconds":%.6f,"acknowledged":%d,"refused":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.duration / 1e6, summary.requests - e.status, refused, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3))
end
