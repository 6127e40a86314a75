"""A line over grpcio: what reaches a pooler wherever it is.

Each message costs grpcio an operation of its own, a hundred microseconds and more whatever its size; so a message is
asked for when the one before has left, with all that has come together meanwhile.
"""

import asyncio
import contextlib

import grpc
from grpc.aio import StreamStreamCall

from frontend.pooler_client.line import Listener
from frontend.pooler_client.way import describe


class GrpcioLine:
    """One stream of serialized messages. Two tasks serve it: one writes, one reads."""

    def __init__(self, wire: "StreamStreamCall[bytes, bytes]") -> None:
        self._wire = wire
        self._message: bytes | None = None
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        return self._message is None

    def listen(self, listener: Listener) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._write(listener)), loop.create_task(self._read(listener))]

    def write(self, message: bytes) -> None:
        self._message = message
        self._wake.set()

    def close(self) -> None:
        self._wire.cancel()
        for task in self._tasks:
            task.cancel()

    async def gone(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write(self, listener: Listener) -> None:
        # The reader hears of a broken stream with its cause, and says so.
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
            while True:
                await self._wake.wait()
                self._wake.clear()
                while (message := self._message) is not None:
                    await self._wire.write(message)
                    self._message = None
                    listener.flush()

    async def _read(self, listener: Listener) -> None:
        cause = "the pooler ended the stream"
        try:
            while isinstance(message := await self._wire.read(), bytes):
                listener.receive(message)
        except grpc.RpcError as error:
            cause = describe(error)
        except asyncio.CancelledError:
            # Closed from this side; or grpc.aio's way to say that the peer has cancelled.
            cause = "the pooler took the stream back"
        listener.end(cause)
