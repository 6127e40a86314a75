"""One MCP request over HTTP, as any client sends it: revision 2026-07-28, standard library only.

For the command's own first call; no client for anything else.
"""

import json
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any

from pooler.ctl.ports import split

REVISION = "2026-07-28"


@dataclass(frozen=True, slots=True)
class Answer:
    """A result and how long the client waited for it."""

    result: dict[str, Any]
    elapsed_ms: float


class ProbeError(Exception):
    """The request was not answered as it should have been; the message says by what instead."""


def request(
    address: str, method: str, parameters: dict[str, Any], timeout_seconds: float, token: str | None = None
) -> Answer:
    """Sends one request and waits for its answer. Raises ProbeError."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": REVISION,
        "io.modelcontextprotocol/clientInfo": {"name": "penstock up", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**parameters, "_meta": meta}}
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": REVISION,
        "Mcp-Method": method,
    }
    if "name" in parameters:
        headers["Mcp-Name"] = parameters["name"]
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    host, port = split(address)
    connection = HTTPConnection(host, port, timeout=timeout_seconds)
    begun = time.perf_counter()
    try:
        connection.request("POST", "/mcp", json.dumps(body), headers)
        response = connection.getresponse()
        text = response.read().decode()
        elapsed_ms = (time.perf_counter() - begun) * 1000
        message = message_in(text, response.getheader("Content-Type", ""))
    except (OSError, HTTPException, ValueError) as error:
        raise ProbeError(f"the frontend at {address} gave no answer that could be read: {error}") from error
    finally:
        connection.close()
    if "result" not in message:
        reason = message.get("error", {}).get("message", "no reason")
        raise ProbeError(f"the frontend answered {method} with HTTP {response.status}: {reason}")
    return Answer(message["result"], elapsed_ms)


def message_in(text: str, content_type: str) -> dict[str, Any]:
    """The answer in a body: JSON, or the last event of a stream when it took the server long."""
    if content_type.startswith("text/event-stream"):
        data = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")]
        messages = [json.loads(each) for each in data if each.strip()]
        answers = [each for each in messages if "result" in each or "error" in each]
        if not answers:
            raise ValueError("the event stream ended without an answer")
        text = json.dumps(answers[-1])
    decoded = json.loads(text)
    if not isinstance(decoded, dict):
        raise ValueError("no JSON object")  # noqa: TRY004  # one kind of error for everything unreadable
    return decoded
