"""Subscriptions of 2026-07-28 clients (`subscriptions/listen`): changes of the catalogue, and of resources.

Each client that listens has a bus of its own, fed by one watch at the pooler, so that nobody hears of what others may
see. The SDK's handler writes the stream. Nothing outlives a stream: a client that comes back reads again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager

import mcp_types as types
from mcp.server.subscriptions import (
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)

from frontend.auth import Caller
from frontend.catalogue import Catalogue
from frontend.errors import PoolerError, ProtocolError, as_protocol_error
from frontend.events import Watched
from frontend.logs import Logger
from frontend.pooler_client.watch import Watches
from frontend.preparing import prepare_resource
from frontend.requests import Context, caller_of

log = Logger(__name__)

STREAMS_MAX = 1024
"""How many clients may listen to one frontend at once."""
BEGIN_SECONDS = 7.0
"""How long a client waits for its acknowledgement while the pooler is away; after that it is told of a change once
the pooler watches. Longer than a pooler waits for its backend, so that it is told once and not twice."""

LISTS: dict[str, ServerEvent] = {
    "tools": ToolsListChanged(),
    "resources": ResourcesListChanged(),
    "prompts": PromptsListChanged(),
}

Listener = Callable[[ServerEvent], None]


class Bus:
    """What one client hears. (The SDK's SubscriptionBus.) Events before its handler listens are kept for it."""

    def __init__(self) -> None:
        self._listener: Listener | None = None
        self._early: dict[ServerEvent, None] = {}

    async def publish(self, event: ServerEvent) -> None:
        """Tells it."""
        self.tell(event)

    def tell(self, event: ServerEvent) -> None:
        """The same, at once."""
        if self._listener is not None:
            self._listener(event)
        else:
            self._early[event] = None

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """The handler listens from now on, until it calls what is returned."""
        self._listener = listener
        for event in self._early:
            listener(event)
        self._early.clear()
        return self._forget

    def _forget(self) -> None:
        self._listener = None


class Stream:
    """One client that listens: its bus, and the watch that feeds it."""

    def __init__(self, watches: Watches, caller: Caller, uris: Sequence[str]) -> None:
        self.bus = Bus()
        self.handler = ListenHandler(self.bus)
        self._watches = watches
        self._caller = caller
        self._uris = uris
        self._targets: list[Watched] = []
        self._watching: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()
        self._refusal: PoolerError | None = None
        self._owed: set[str] = set()
        """The URIs of which a change may be missed until the pooler watches them."""

    async def begin(self, catalogue: Catalogue) -> None:
        """Has the pooler watch, and waits for it a while. Raises PoolerError when it refuses."""
        self.follow(catalogue)
        if self._watching is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEGIN_SECONDS):
                    await self._begun.wait()
        if self._refusal is not None:
            raise self._refusal
        if not self._begun.is_set():
            self._owed.update(self._uris)

    def follow(self, catalogue: Catalogue) -> None:
        """Watches what the catalogue says of its URIs now; those that are watched otherwise than before may have
        changed."""
        targets = list(targets_of(catalogue, self._uris))
        if targets == self._targets:
            return
        before, self._targets = set(self._targets), targets
        if self._watching is not None:
            self._watching.cancel()
            self._owed.update(target.uri for target in {*targets} ^ before)
        self._begun.clear()
        self._watching = asyncio.create_task(self._watch(targets)) if targets else None

    def list_changed(self, name: str) -> None:
        """A list of the catalogue is another one than before."""
        self.bus.tell(LISTS[name])

    async def end(self) -> None:
        """Watches no more."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})

    async def _watch(self, targets: Sequence[Watched]) -> None:
        try:
            async with aclosing(self._watches.watch(self._caller, targets, self._note_begun)) as changes:
                async for uri in changes:
                    self.bus.tell(ResourceUpdated(uri))
        except PoolerError as error:
            log.info("subscriptions refused", reason=error.reason, resources=len(targets))
            self._refusal = error
            self._begun.set()
            self.handler.close()  # a client that comes back hears why

    def _note_begun(self) -> None:
        self._begun.set()
        for uri in sorted(self._owed):
            self.bus.tell(ResourceUpdated(uri))
        self._owed.clear()


class Subscriptions:
    """All clients of this process that listen. `catalogue` waits for the current one; it may raise ProtocolError."""

    def __init__(self, watches: Watches, default_caller: Caller, catalogue: Callable[[], Awaitable[Catalogue]]) -> None:
        self._watches = watches
        self._default_caller = default_caller
        self._catalogue = catalogue
        self._streams: set[Stream] = set()

    async def listen(
        self, ctx: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Answers with the stream, until its client leaves or this frontend is stopped.

        Acknowledged are the URIs that are watched; of any other no change would ever be told.
        """
        if len(self._streams) >= STREAMS_MAX:
            raise as_protocol_error(
                PoolerError("TOO_MANY_CALLS", f"{STREAMS_MAX} clients listen to this frontend. Try again later.")
            )
        catalogue, asked = await self._catalogue(), params.notifications
        uris = [target.uri for target in targets_of(catalogue, asked.resource_subscriptions or ())]
        granted = asked.model_copy(update={"resource_subscriptions": uris})
        async with self._stream(caller_of(ctx, self._default_caller), uris) as stream:
            try:
                await stream.begin(catalogue)
            except PoolerError as error:
                raise as_protocol_error(error) from None
            return await stream.handler(ctx, params.model_copy(update={"notifications": granted}))

    @asynccontextmanager
    async def _stream(self, caller: Caller, uris: Sequence[str]) -> AsyncIterator[Stream]:
        stream = Stream(self._watches, caller, uris)
        self._streams.add(stream)
        try:
            yield stream
        finally:
            self._streams.discard(stream)
            await stream.end()

    def publish(self, before: Catalogue | None, now: Catalogue) -> None:
        """Another catalogue has come."""
        for stream in self._streams:
            for name in LISTS:
                if before is None or before.lists[name] != now.lists[name]:
                    stream.list_changed(name)
            stream.follow(now)

    def leave(self) -> None:
        """Ends every stream as the protocol wants it, so that its client goes to another frontend."""
        for stream in self._streams:
            stream.handler.close()


def targets_of(catalogue: Catalogue, uris: Iterable[str]) -> Iterable[Watched]:
    """Those of the URIs that are watched, each once, and by which operation."""
    for uri in dict.fromkeys(uris):
        with contextlib.suppress(ProtocolError):  # of what nobody can read, no change can be told
            prepared = prepare_resource(catalogue, uri)
            if prepared.operation.watched:
                yield Watched(uri, prepared.operation.name, prepared.arguments)
