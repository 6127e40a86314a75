"""MCP over plain blocking HTTP, for tests that kill the other side: one request, one answer, nothing retried."""

import json
import urllib.request
from typing import Any

VERSION = "2026-07-28"


def call_tool(url: str, name: str, arguments: dict[str, Any] | None = None, seconds: float = 60.0) -> dict[str, Any]:
    """A `tools/call` of the 2026-07-28 revision; the result. Raises OSError when the frontend is gone."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": name, "arguments": arguments or {}, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": VERSION,
        "Mcp-Method": "tools/call",
        "Mcp-Name": name,
    }
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=seconds) as response:
        text = response.read().decode()
    if text.startswith("{"):
        answer = json.loads(text)
    else:
        answer = json.loads(next(line[5:] for line in text.splitlines() if line.startswith("data:") and "{" in line))
    result: dict[str, Any] = answer["result"]
    return result
