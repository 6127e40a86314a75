"""A line over grpcio's server: any gRPC client in any language, from anywhere.

Each message costs grpcio an operation of its own, a hundred microseconds and more whatever its size; so a message is
asked for when the one before has left, with all that has come together meanwhile.
"""

import asyncio
from typing import Any
from urllib.parse import unquote

import grpc

from pooler.errors import Fault
from pooler.service.exchange import Exchange

THIS_MACHINE = ("ipv4:127.", "ipv6:[::1]", "unix:")
"""How a peer's address begins that came over loopback."""

Context = grpc.aio.ServicerContext[Any, Any]


class GrpcioLine:
    """One stream of serialized messages. `carry` it to its end."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._message: bytes | None = None
        self._ended = False
        self._fault: Fault | None = None
        self._wake = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_read.set()

    @property
    def from_this_machine(self) -> bool:
        return unquote(self._context.peer()).startswith(THIS_MACHINE)

    @property
    def ready(self) -> bool:
        return self._message is None

    def write(self, message: bytes) -> None:
        self._message = message
        self._wake.set()

    def hold(self, held: bool) -> None:
        if held:
            self._may_read.clear()
        else:
            self._may_read.set()

    def end(self, fault: Fault | None) -> None:
        self._ended = True
        self._fault = fault
        self._wake.set()

    async def carry(self, exchange: Exchange) -> None:
        """Until the exchange has ended. Raises its Fault, and CancelledError when the client has left."""
        reading = asyncio.get_running_loop().create_task(self._read(exchange))
        try:
            while not self._ended:
                await self._wake.wait()
                self._wake.clear()
                while (message := self._message) is not None and self._fault is None:
                    await self._context.write(message)
                    self._message = None
                    exchange.flush()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if self._fault is not None:
            raise self._fault

    async def _read(self, exchange: Exchange) -> None:
        while isinstance(message := await self._context.read(), bytes):  # else it is the end
            await self._may_read.wait()
            exchange.receive(message)
        exchange.half_close()
