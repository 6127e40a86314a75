"""A pooler that is killed, and one whose disk has gone wrong: what its callers hold is still good, or honestly over."""

import asyncio
import base64
import os
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from protos.penstock.v1 import pooler_pb2 as pb
from protos.penstock.v1 import pooler_pb2_grpc
from tests.interaction import wire
from tests.programs import Pooler
from tests.real import loop

CONFIG: dict[str, Any] = {
    "pooler": {"store": "sqlite"},
    "backends": {"sim": {"kind": "simulated", "pool": {"cap": 1}}},
    "operations": {"echo": {"backend": "sim", "method": "echo", "arguments": {"value": {}}, "effect": "read"}},
}
CONVERSATIONS = 200
STORE = "store.sqlite"

Stub: TypeAlias = "pooler_pb2_grpc.PoolerServiceAsyncStub"


async def opened(stub: Stub, number: int) -> str:
    """A conversation with a note and a log level, by its handle."""
    opening = pb.OpenConversationRequest(note=f"note {number}".encode())
    conversation = (await stub.OpenConversation(opening)).conversation
    level = pb.DeliverLogLevel(level="warning")
    await stub.Deliver(pb.DeliverRequest(conversation=conversation, log_level=level))
    return conversation


async def kept(stub: Stub, handle: str) -> tuple[bytes, str]:
    """What the pooler knows of a conversation."""
    conversation = await stub.GetConversation(pb.GetConversationRequest(conversation=handle))
    return conversation.note, conversation.log_level


async def reason(stub: Stub, handle: str) -> str:
    """Why the pooler does not know a conversation."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await kept(stub, handle)
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return str(info.reason)


def test_what_a_killed_pooler_has_said_that_it_keeps_the_next_one_has(tmp_path: Path) -> None:
    async def begin(pooler: Pooler) -> list[str]:
        async with wire.stub(pooler.address) as stub, asyncio.timeout(60):
            return await asyncio.gather(*(opened(stub, number) for number in range(CONVERSATIONS)))

    async def go_on(pooler: Pooler, handles: list[str]) -> list[tuple[bytes, str]]:
        async with wire.stub(pooler.address) as stub, asyncio.timeout(60):
            return await asyncio.gather(*(kept(stub, handle) for handle in handles))

    with Pooler(tmp_path, CONFIG) as pooler:
        handles = loop.run(begin(pooler))
        pooler.kill()
    with Pooler(tmp_path, CONFIG) as pooler:
        found = loop.run(go_on(pooler, handles))

    assert found == [(f"note {number}".encode(), "warning") for number in range(CONVERSATIONS)]


def test_a_pooler_that_is_killed_while_it_writes_has_whatever_it_has_confirmed(tmp_path: Path) -> None:
    confirmed: list[tuple[int, str]] = []

    async def write_until_killed(pooler: Pooler) -> None:
        async def client(first: int) -> None:
            number = first
            while True:
                confirmed.append((number, await opened(stub, number)))
                number += 8

        async with wire.stub(pooler.address) as stub, asyncio.timeout(60):
            clients = [asyncio.ensure_future(client(first)) for first in range(8)]
            while len(confirmed) < 300:  # noqa: ASYNC110 - counts what eight tasks do
                await asyncio.sleep(0.001)
            pooler.kill()
            ended = await asyncio.gather(*clients, return_exceptions=True)
        assert {type(each) for each in ended} == {grpc.aio.AioRpcError}

    async def check(pooler: Pooler) -> None:
        async with wire.stub(pooler.address) as stub, asyncio.timeout(60):
            for number, handle in confirmed:
                assert await kept(stub, handle) == (f"note {number}".encode(), "warning")

    with Pooler(tmp_path, CONFIG) as pooler:
        loop.run(write_until_killed(pooler))
    with Pooler(tmp_path, CONFIG) as pooler:
        loop.run(check(pooler))


def test_a_store_that_is_damaged_is_set_aside_and_said_and_its_handles_are_over(tmp_path: Path) -> None:
    async def one(pooler: Pooler) -> str:
        async with wire.stub(pooler.address) as stub, asyncio.timeout(60):
            return await opened(stub, 1)

    async def ask(pooler: Pooler, handle: str) -> str:
        async with wire.stub(pooler.address) as stub, asyncio.timeout(60):
            return await reason(stub, handle)

    with Pooler(tmp_path, CONFIG) as pooler:
        handle = loop.run(one(pooler))
    (tmp_path / "state" / STORE).write_bytes(os.urandom(20_000))
    with Pooler(tmp_path, CONFIG) as pooler:
        said = [line for line in pooler.log if "set aside" in line.get("event", "")]
        found = loop.run(ask(pooler, handle))

    assert found == "HANDLE_EXPIRED"
    (line,) = said
    assert line["aside"] == str(tmp_path / "state" / f"{STORE}.damaged")
    assert Path(line["aside"]).stat().st_size == 20_000


def test_keys_of_the_configuration_are_rotated_by_a_reload(tmp_path: Path) -> None:
    old, new = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
    first, second = tmp_path / "first.key", tmp_path / "second.key"
    first.write_text(old)
    second.write_text(old)
    config = {**CONFIG, "pooler": {"handle_keys": ["${file:first.key}", "${file:second.key}"]}}

    async def states(pooler: Pooler, *handles: str) -> list[str]:
        async with wire.stub(pooler.address) as stub, asyncio.timeout(60):
            made = await opened(stub, 1)
            return [made, *[(await kept(stub, handle))[1] for handle in handles]]

    async def ask(pooler: Pooler, handle: str) -> str:
        async with wire.stub(pooler.address) as stub, asyncio.timeout(60):
            return await reason(stub, handle)

    with Pooler(tmp_path, config) as pooler:
        (before,) = loop.run(states(pooler))
        first.write_text(new)
        pooler.reload(config)
        during, known = loop.run(states(pooler, before))
        second.write_text(new)
        pooler.reload(config)
        after, known_after = loop.run(states(pooler, during))
        found = loop.run(ask(pooler, before))

    assert (known, known_after, found) == ("warning", "warning", "HANDLE_UNKNOWN")
    assert len({before, during, after}) == 3
    assert not (tmp_path / "state" / "handle.key").exists()
    assert old not in str(pooler.log)
