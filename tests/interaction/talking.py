"""What conversations are tested with: operations that report and ask, and how a stream is read within a test."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from tests.interaction.line import PATIENCE_SECONDS, SIMULATED, Line
from tests.interaction.talker import Event

TALKING: dict[str, Any] = {
    **SIMULATED,
    "operations": {
        **SIMULATED["operations"],
        "report": {
            "backend": "sim",
            "method": "report",
            "arguments": {"seconds": {"type": "number"}, "steps": {"type": "integer"}},
            "effect": "read",
            "timeout_seconds": 120,
        },
        "ask": {
            "backend": "sim",
            "method": "ask",
            "arguments": {"question": {"type": "string"}},
            "effect": "read",
            "asks": True,
        },
        "put": {"backend": "sim", "method": "put", "arguments": {"value": {"type": "string"}}, "effect": "write"},
        "count": {
            "backend": "sim",
            "method": "count",
            "arguments": {"value": {"type": "string"}},
            "effect": "read",
            "tool": False,
            "resource": "sim://count/{value}",
            "watch": {"every_seconds": 0.1},
        },
        "delete_orders": {
            "backend": "sim",
            "method": "write",
            "arguments": {"count": {"type": "integer"}},
            "effect": "write",
            "confirm": "Delete {count} orders?",
        },
    },
}
ELICITS: dict[str, Any] = {"elicitation": {}}
YES = {"action": "accept", "content": {}}


def url(line: Line, number: int) -> str:
    return f"http://{line.frontends[number].address}/mcp"


async def taken(events: AsyncIterator[Event], count: int) -> list[Event]:
    """The next events of a stream."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return [await anext(events) for _ in range(count)]


async def rest(events: AsyncIterator[Event]) -> list[Event]:
    """The events up to the end of a stream."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return [event async for event in events]
