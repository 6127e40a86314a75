-- What wrk sends and asks of each answer: `tools/call` of one tool, with a random key of so many, and the same number
-- as the request's id. An answer is right when its row explains the id that it bears.
--
-- wrk -s call.lua URL -- TOOL KEYS SEED; prints one JSON object at the end.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local tool, meta = args[1], "io.modelcontextprotocol/"
  keys = tonumber(args[2])
  math.randomseed(tonumber(args[3]))
  wrong, example = 0, ""
  before_id = '{"jsonrpc":"2.0","id":'
  before_key = ',"method":"tools/call","params":{"name":"' .. tool .. '","arguments":{"id":'
  after_key = '},"_meta":{"' .. meta .. 'protocolVersion":"2026-07-28","' .. meta .. 'clientCapabilities":{},"'
    .. meta .. 'clientInfo":{"name":"wrk","version":"4"}}}}'
  length = #before_id + #before_key + #after_key
  head = "POST " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port .. "\r\n"
    .. "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
    .. "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: " .. tool .. "\r\nContent-Length: "
end

function request()
  local key = tostring(math.random(keys))
  return head .. (length + 2 * #key) .. "\r\n\r\n" .. before_id .. key .. before_key .. key .. after_key
end

function response(status, headers, body)
  local key = body:match('"id":(%d+)')
  if status ~= 200 or not key or not body:find("row " .. key .. " ", 1, true) then
    wrong = wrong + 1
    example = status .. " " .. body
  end
end

function done(summary, latency, requests)
  local wrong, example, errors = 0, "", summary.errors
  for _, thread in ipairs(threads) do
    wrong = wrong + thread:get("wrong")
    example = thread:get("example")
  end
  if example ~= "" then
    io.stderr:write("not right: ", example, "\n")
  end
  io.write(string.format(
    '\n{"calls": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "wrong": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    wrong, errors.connect + errors.read + errors.write + errors.timeout
  ))
end
