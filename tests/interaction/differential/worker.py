"""A worker that says what reached it, and answers in every form that there is. Standard library only."""

import json
import sys
from typing import Any

TEXT = {"type": "text", "text": "words – ünïcode \U0001f6b0 \u2028"}
LINK = {"type": "resource_link", "uri": "x://y", "name": "y", "mimeType": "text/plain"}
QUESTION = {"method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": {"type": "object"}}}


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The response to a request, without its id."""
    if method == "open":
        return {"result": {"protocol": 1, "methods": ["reset"], "meta": True}}
    if method == "explain":
        return {"result": params}
    if method == "blocks":
        own = {"content": [TEXT, LINK], "structuredContent": {"n": 1.5, "saw": params["value"]}, "_meta": {"a/b": 1}}
        return {"result": {"resultType": "complete", **own}}
    if method == "bare_blocks":
        return {"result": {"structuredContent": {"n": 1e16}, "isError": False}}
    if method == "failing":
        return {"result": {"resultType": "complete", "content": [TEXT], "isError": True}}
    if method == "no_blocks":
        return {"result": {"resultType": "complete", "content": [{"type": "nonsense"}]}}
    if method == "protocol_error":
        return {"error": {"code": -32000, "message": "No page", "data": {"mcp": {"code": -32007, "data": {"p": 7}}}}}
    if method == "refusing":
        return {"error": {"code": -32000, "message": "Not today – ever"}}
    if method == "asking":
        if params["_meta"].get("inputResponses"):
            return {"result": {"said": params["_meta"]["inputResponses"]}}
        return {"result": {"resultType": "input_required", "inputRequests": {"who": QUESTION}, "requestState": "1"}}
    return {"result": {}}


for line in sys.stdin:
    request = json.loads(line)
    said = answer(request["method"], request["params"])
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **said}), flush=True)
    if request["method"] == "close":
        break
