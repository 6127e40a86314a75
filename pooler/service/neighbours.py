"""Where frontends on the same machine may have their exchange at less cost: a unix socket of the pooler's owner alone.

It carries the same gRPC as the pooler's own address, `Exchange` and nothing else. Who comes in is decided by the
file system; where it is, the pooler says to those who have come over loopback with nothing in between.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import cast

import structlog

from pooler.service.exchange import Exchange
from pooler.service.http2 import Connection
from pooler.service.line import Line
from pooler.service.sending import BATCH_BYTES

log = structlog.get_logger(__name__)

PATH_BYTES_MAX = 107
"""What the kernel takes as the path of a socket."""
CONNECTIONS_MAX = 256
"""Each frontend has one, and a second one while it changes over."""
LAST_LOOK_SECONDS = 0.02


class Refusal(asyncio.Protocol):
    """For one connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()  # uvloop's is none by descent


class Neighbours:
    """A socket at `path`, open from `open` to `close`. `accept`: makes a line an exchange."""

    def __init__(
        self, path: Path, accept: Callable[[Line], Exchange], request_bytes_max: int, vanished_seconds: float
    ) -> None:
        self.address = ""
        """As the pooler's Hello says it, while open; else empty."""
        self._path = path.absolute()
        self._accept = accept
        self._message_bytes_max = request_bytes_max + BATCH_BYTES
        self._vanished_seconds = vanished_seconds
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listens. Where that cannot be, frontends stay with the pooler's own address, and the log says why."""
        if len(bytes(self._path)) > PATH_BYTES_MAX:
            log.info("no socket for neighbours", path=str(self._path), cause=f"longer than {PATH_BYTES_MAX} bytes")
            return
        try:
            listener = self._listener()
            self._server = await asyncio.get_running_loop().create_unix_server(self._connect, sock=listener)
        except OSError as error:
            log.info("no socket for neighbours", path=str(self._path), cause=error.strerror)
            return
        self.address = f"unix:{self._path}"

    async def close(self, grace_seconds: float) -> None:
        """Takes nobody in any more, gives those who are here so long to end their streams, and closes."""
        self.address = ""
        if self._server is None:
            return
        self._server.close()
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                while any(connection.busy for connection in self._connections):  # noqa: ASYNC110 - at the very end
                    await asyncio.sleep(LAST_LOOK_SECONDS)
        for connection in list(self._connections):
            connection.close()
        await self._server.wait_closed()

    def _listener(self) -> socket.socket:
        """Nobody but the owner can connect, from the moment at which the file exists."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._path.unlink(missing_ok=True)  # left by a pooler that was killed: the folder is this one's alone
            listener.bind(str(self._path))
            self._path.chmod(0o600)
            listener.listen(128)
        except OSError:
            listener.close()
            raise
        return listener

    def _connect(self) -> asyncio.Protocol:
        if len(self._connections) >= CONNECTIONS_MAX:
            log.warning("a neighbour was sent away", cause=f"{CONNECTIONS_MAX} are here already")
            return Refusal()
        connection = Connection(
            self._accept, self._connections.discard, self._message_bytes_max, self._vanished_seconds
        )
        self._connections.add(connection)
        return connection
