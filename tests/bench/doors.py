"""A door in front of a server that takes its time to let anybody in, so that a quick one starts like an old system."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

PIECE_BYTES = 65_536


@dataclass(slots=True)
class Door:
    """Where clients knock instead, and how many have."""

    url: str
    knocked: int = 0


@asynccontextmanager
async def slow_door(url: str, seconds: float) -> AsyncIterator[Door]:
    """Passes bytes between clients and the server of this URL, each client's first ones after so many seconds."""
    target = urlsplit(url)
    passages: set[asyncio.Task[None]] = set()

    async def passage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        there, back = await asyncio.open_connection(target.hostname, target.port)
        await asyncio.gather(_pump(reader, back), _pump(there, writer))

    def knock(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        door.knocked += 1
        task = asyncio.create_task(passage(reader, writer))
        passages.add(task)
        task.add_done_callback(passages.discard)

    server = await asyncio.start_server(knock, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    door = Door(urlunsplit(target._replace(netloc=f"{target.username}@{host}:{port}")))
    try:
        yield door
    finally:
        server.close()
        for task in passages:
            task.cancel()
        await asyncio.gather(*passages, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()
