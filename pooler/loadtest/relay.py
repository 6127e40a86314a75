"""A way through loopback for one caller whose connection is to break off: RST in both directions, and no farewell.

gRPC says goodbye to a server when a channel is closed; a function that is killed does not, and what a pool does then is
what has to be seen. It passes bytes on and looks at none.
"""

import asyncio
import contextlib
import socket
import struct

RESETS = struct.pack("ii", 1, 0)
"""SO_LINGER without any time: closing then sends RST."""
PIECE_BYTES = 65_536


class Relay:
    """To HOST:PORT or unix:PATH. `open`, then one connection to `address`; `reset` breaks it off, `close` too."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """Where the caller connects to."""
        assert self._server is not None, "not open"
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    async def open(self) -> None:
        """Listens on a free port of loopback."""
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)

    def reset(self) -> None:
        """Takes the caller away."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            end = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # a unix socket has no such option, and is closed at once all the same
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
            writer.transport.abort()
        self._writers.clear()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        self._writers += [writer, back]
        await asyncio.gather(_pump(reader, back), _pump(there, writer))

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._target.startswith("unix:"):
            return await asyncio.open_unix_connection(self._target.removeprefix("unix:"))
        host, _, port = self._target.rpartition(":")
        return await asyncio.open_connection(host.strip("[]"), int(port))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
        if not writer.is_closing():
            writer.write_eof()
