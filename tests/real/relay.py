"""A relay on loopback between clients and a program, which can make the clients vanish: RST instead of a farewell."""

import asyncio
import contextlib
import socket
import struct
from typing import Self

RESETS = struct.pack("ii", 1, 0)
"""SO_LINGER without any time: closing then sends RST."""
PIECE_BYTES = 65_536


class Relay:
    """Passes bytes on, both ways. An async context manager; `address` is where clients connect to."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._ends: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        assert self._server is not None, "not started"
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    def reset(self) -> None:
        """Takes all clients away without a word: RST in both directions, and nobody is let in any more."""
        assert self._server is not None, "not started"
        self._server.close()
        for end in self._ends:
            end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
            end.transport.abort()
        self._ends.clear()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.reset()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._target.rpartition(":")
        there, back = await asyncio.open_connection(host, int(port))
        self._ends += [writer, back]
        await asyncio.gather(_pump(reader, back), _pump(there, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
        if not writer.is_closing():
            writer.write_eof()
