"""The ways to a pooler's gRPC together: streams that take turns, and connections of their own for callers who drop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle

from pooler.loadtest.plan import Where
from pooler.loadtest.relay import Relay
from pooler.service.load import WAY_BROKEN, Done, Leave, LoadAnswer, LoadCall, LoadError, LoadWay, UnaryWay
from pooler.service.load_stream import StreamWay


class GrpcWay(LoadWay):
    """Calls go to the streams in turn; those of callers who drop go through a relay each."""

    def __init__(self, address: str, where: Where) -> None:
        make = StreamWay if where.wire == "exchange" else UnaryWay
        self._ways: list[LoadWay] = [make(address) for _ in range(where.streams)]
        self._turns = cycle(self._ways)
        self._dropping = DroppingWay(address)

    async def open(self) -> None:
        """Connects all of them. Raises LoadError."""
        for way in self._ways:
            await way.open()

    def begin(self, call: LoadCall, done: Done) -> Leave:
        """Sends a call."""
        return (self._dropping if call.drops else next(self._turns)).begin(call, done)

    async def close(self) -> None:
        """Ends what is under way."""
        for way in (*self._ways, self._dropping):
            await way.close()


class DroppingWay(LoadWay):
    """A connection for each call; leaving breaks it off."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._callers: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Nothing is connected before it is called."""

    def begin(self, call: LoadCall, done: Done) -> Leave:
        """Sends a call. Leaving resets its connection."""
        relay = Relay(self._address)
        caller = asyncio.ensure_future(self._call(relay, call, done))
        self._callers.add(caller)
        caller.add_done_callback(self._callers.discard)

        def leave() -> None:
            relay.reset()
            caller.cancel()

        return leave

    async def close(self) -> None:
        """Ends what is under way."""
        callers = list(self._callers)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)

    async def _call(self, relay: Relay, call: LoadCall, done: Done) -> None:
        answer: asyncio.Future[LoadAnswer] = asyncio.get_running_loop().create_future()
        try:
            await relay.open()
            async with _opened(UnaryWay(relay.address)) as way:
                way.begin(call, lambda told: None if answer.done() else answer.set_result(told))
                done(await answer)
        except (OSError, LoadError):
            done(LoadAnswer(WAY_BROKEN))
        finally:
            relay.reset()


@asynccontextmanager
async def _opened(way: LoadWay) -> AsyncIterator[LoadWay]:
    await way.open()
    try:
        yield way
    finally:
        await way.close()
