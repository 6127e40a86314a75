"""A frontend between a client by hand and a pooler whose words a test has written: both sides are the test's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from protos.penstock.v1 import pooler_pb2 as pb
from tests.interaction.line import Line
from tests.interaction.modern_client import ModernClient, modern_client
from tests.interaction.scripted_pooler import ScriptedPooler, scripted

PLAIN = pb.Operation(name="plain", tool=True, effect=pb.EFFECT_READ, resource="plain://{x}")
ASKS = pb.Operation(name="asks", tool=True, asks=True, effect=pb.EFFECT_WRITE)
LONG = pb.Operation(name="long", tool=True, long=True, effect=pb.EFFECT_WRITE, timeout_ms=60_000)
LATER = pb.Operation(name="later", tool=True, long=True, long_after_ms=50, effect=pb.EFFECT_WRITE)
AT_LEISURE = pb.Operation(name="at_leisure", tool=True, long=True, long_after_ms=60_000, effect=pb.EFFECT_WRITE)

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}
FORM = {"mode": "form", "message": "Who?", "requestedSchema": SCHEMA}
NAME = {"name": {"method": "elicitation/create", "params": FORM}}
ALICE = {"name": {"action": "accept", "content": {"name": "Alice"}}}


def question(seq: int) -> pb.RunEvent:
    return pb.RunEvent(seq=seq, input_required=pb.RunInputRequired(input_requests=orjson.dumps(NAME)))


def state(status: pb.RunStatus.ValueType, **more: Any) -> pb.RunState:
    return pb.RunState(
        run="run.1", operation="long", status=status, created_ms=1_000, updated_ms=3_500, keep_ms=5_000, **more
    )


WORKING = state(pb.RUN_STATUS_WORKING)

Scene = tuple[ScriptedPooler, ModernClient]


@asynccontextmanager
async def scene(line: Line, capabilities: dict[str, Any] | None = None) -> AsyncIterator[Scene]:
    async with scripted(ASKS, AT_LEISURE, LATER, LONG, PLAIN) as (pooler, address):
        line.relay.target = address
        # The scripted pooler keeps no conversations; clients of either era are served without state.
        await line.start_frontend(conversations=False)
        async with modern_client(line.url, capabilities) as client:
            yield pooler, client
        await line.relay.cut()
