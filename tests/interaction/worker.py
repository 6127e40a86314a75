"""A worker for tests of the whole line: it says who asked, and answers in MCP's own forms. Standard library only."""

import json
import sys
from typing import Any

BLOCKS = [
    {"type": "text", "text": "a", "annotations": {"audience": ["user"], "priority": 0.5}},
    {"type": "resource_link", "uri": "x://y", "name": "y", "mimeType": "text/plain"},
]


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The response to a request, without its id."""
    match method:
        case "open":
            return {"result": {"protocol": 1, "methods": ["reset"], "meta": True}}
        case "whoami":
            return {"result": params["_meta"]}
        case "blocks":
            own = {"content": BLOCKS, "structuredContent": {"n": 1}, "_meta": {"example.com/a": 1}}
            return {"result": {"resultType": "complete", **own}}
        case "failing":
            return {"result": {"resultType": "complete", "content": BLOCKS[:1], "isError": True}}
        case "broken_content":
            return {"result": {"resultType": "complete", "content": [{"type": "nonsense"}]}}
        case "protocol_error":
            error = {"code": -32007, "data": {"page": 7}}
            return {"error": {"code": -32000, "message": "No such page", "data": {"mcp": error}}}
        case _:
            return {"result": {}}


for line in sys.stdin:
    request = json.loads(line)
    print(
        json.dumps({"jsonrpc": "2.0", "id": request["id"], **answer(request["method"], request["params"])}), flush=True
    )
    if request["method"] == "close":
        break
