"""What an MCP server answers, read as far as a load test needs it: a result, a reason, a timing. Sends nothing."""

from typing import Any

import aiohttp
import orjson

from pooler.service.load import GOOD, INPUT_REQUIRED, WAY_BROKEN, LoadAnswer
from pooler.service.load_watch import Offered

TIMING_META, ERROR_META, CACHE_META = "penstock/timing", "penstock/error", "penstock/cache"
PARTS = ("queue_ms", "start_ms", "reset_ms", "backend_ms")

Json = dict[str, Any]


class Said(Exception):
    """An answer that is no result; `outcome` is what it counts as."""

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


async def result_in(response: aiohttp.ClientResponse, number: int) -> Json:
    """The result of a request, from JSON or from an event stream. Raises Said for any other answer."""
    streams = response.content_type == "text/event-stream"
    body = await response.read()
    message = _in_stream(body, number) if streams else _read(body)
    if message is None:
        raise Said(f"HTTP_{response.status}" if response.status != 200 else WAY_BROKEN)
    if isinstance(result := message.get("result"), dict):
        return result
    raise Said(_reason(message.get("error")))


def answer_of(result: Json) -> LoadAnswer:
    """A `tools/call` result as an answer."""
    meta = result.get("_meta") or {}
    if result.get("isError"):
        return LoadAnswer(str(meta.get(ERROR_META, {}).get("reason", "TOOL_ERROR")))
    if result.get("resultType") == "input_required":
        return LoadAnswer(INPUT_REQUIRED)
    timing, cache = meta.get(TIMING_META), meta.get(CACHE_META)
    shared = str(cache.get("cache", "")) if isinstance(cache, dict) else ""
    if not isinstance(timing, dict):
        return LoadAnswer(GOOD, shared=shared)
    queue, start, reset, work = (float(timing.get(part, 0.0)) / 1000 for part in PARTS)
    return LoadAnswer(GOOD, queue, start, reset, work, timed=True, shared=shared)


def offered(tool: Json) -> Offered:
    """A tool of `tools/list`."""
    reads = bool((tool.get("annotations") or {}).get("readOnlyHint"))
    return Offered(tool["name"], reads, tool.get("inputSchema") or {})


def _in_stream(body: bytes, number: int) -> Json | None:
    """The answer among a stream's events."""
    for line in body.splitlines():
        if line.startswith(b"data:"):
            message = _read(line[5:])
            if message is not None and message.get("id") == number and "method" not in message:
                return message
    return None


def _read(text: bytes) -> Json | None:
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return message if isinstance(message, dict) else None


def _reason(error: Any) -> str:
    """A protocol error by the pooler's reason, else by its code."""
    if not isinstance(error, dict):
        return WAY_BROKEN
    data = error.get("data")
    reason = data.get("reason") if isinstance(data, dict) else None
    return str(reason) if reason else f"MCP_{error.get('code')}"
