"""The frontend as an ASGI application: how it starts and stops, and what is imported when.

A plain call is answered the short way (`hot`); everything else by the application on the SDK (`sdk_app`), which is
imported when it is first needed. `GET /healthz` says that the process lives. This file knows nothing of MCP's messages.
"""

import asyncio
import importlib
from collections.abc import Awaitable, Callable, MutableMapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from frontend.auth import Gatekeeper
from frontend.compiled import Compiled
from frontend.config import Settings
from frontend.events import Reply
from frontend.hot import Desk, Form, Watch, answer_plainly
from frontend.operations import Offer
from frontend.pooler_client import PoolerClient

if TYPE_CHECKING:
    from frontend.conversations import Streams
    from frontend.sdk_app import SdkApp

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class Frontend:
    """One frontend. It starts with the host's lifespan, or with the first request where a host has none.

    `own_server`: whether our own server hosts it, whose connections have looked for plain calls already.
    """

    def __init__(self, settings: Settings, own_server: bool = False) -> None:
        self._settings = settings
        self._own_server = own_server
        self._gate = Gatekeeper(settings)
        self._pooler = PoolerClient(settings.pooler, self._gate.default, settings.calls_max, settings.result_bytes_max)
        self.desk = Desk(settings, version("penstock"), self._gate, self._pooler, self._render)
        self.watch = Watch()
        self._offer: Offer | None = None
        self._compiled: Compiled | None = None
        self._sdk: SdkApp | None = None
        self._loading: asyncio.Task[SdkApp] | None = None
        self._started = False
        self._leaving = False

    @property
    def connected(self) -> bool:
        """Whether calls have an open way to the pooler; the next call opens one where there is none."""
        return self._pooler.connected

    @property
    def revision(self) -> str | None:
        """The catalogue's revision, or None before the first."""
        return self._offer.revision if self._offer else None

    @property
    def streams(self) -> "Streams":
        """The event streams that conversations have open here."""
        assert self._sdk is not None, "no conversation has been asked for yet"
        return self._sdk.streams

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._follow_host(receive, send)
        elif scope["type"] == "http":
            self._start()
            # httptools leaves the white space that may follow a header's value; it is no part of it.
            headers = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
            await self._answer({**scope, "headers": headers}, receive, send)

    async def start(self) -> None:
        """Begins to follow the pooler; waits for nothing of it. Harmless when started already."""
        self._start()
        if self._settings.preload:
            await self._whole()

    def leave(self) -> None:
        """Ends the streams that clients take up again with another frontend; all other requests are still answered."""
        self._leaving = True
        if self._sdk is not None:
            self._sdk.leave()

    async def stop(self) -> None:
        """Ends what is still under way. A frontend is started once only."""
        self.leave()
        if self._started:
            await self._pooler.close()
        if self._loading is not None:
            await asyncio.wait({self._loading})
            # What could not be loaded has said so to everybody who asked for it.
            if self._loading.exception() is None:
                await self._loading.result().stop()

    async def run_stdio(self) -> None:
        """Serves one client on standard input and output, until it closes its end."""
        self._start()
        try:
            await (await self._whole()).run_stdio()
        finally:
            await self.stop()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._pooler.start(self._publish)

    def _publish(self, offer: Offer) -> None:
        self._offer, self._compiled = offer, Compiled(offer)
        self.desk.publish(self._compiled)
        if self._sdk is not None:
            self._sdk.publish(offer, self._compiled)
        self.watch.begin()

    async def _follow_host(self, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "lifespan.shutdown":
            await self.start()
            await send({"type": "lifespan.startup.complete"})
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        from_page = any(name == b"origin" for name, _ in scope["headers"])
        if scope["path"] == "/healthz" and scope["method"] in ("GET", "HEAD") and not from_page:
            await self._health(scope, receive, send)
            return
        if self._settings.hot and not self._own_server and scope["path"] == "/mcp":
            left = await answer_plainly(self.desk, scope, receive, send)
            if left is None:
                return
            receive = left
        await (await self._whole())(scope, receive, send)

    async def _health(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers of itself alone: neither the pooler nor the SDK is asked for anything."""
        del receive
        if scope["method"] not in ("GET", "HEAD"):
            status, kind, body = 405, b"text/plain; charset=utf-8", b"Method not allowed\n"
        else:
            known = {"status": "ok", "catalogue": self.revision, "connected": self.connected}
            status, kind, body = 200, b"application/json", orjson.dumps(known)
        headers = [(b"content-length", b"%d" % len(body)), (b"content-type", kind)]
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _render(self, name: str, reply: Reply, form: Form) -> bytes:
        return (await self._whole()).render(name, reply, form.version)

    # The application on the SDK

    async def _whole(self) -> "SdkApp":
        """The application on the SDK; whoever needs it first has it imported for all."""
        if self._sdk is None:
            if self._loading is None:
                self._loading = asyncio.create_task(self._load())
            # Not awaited itself: whoever leaves must not take the others' import along.
            await asyncio.wait({self._loading})
            self._sdk = self._loading.result()
        return self._sdk

    async def _load(self) -> "SdkApp":
        # In a thread, where it takes turns with the loop: a second of import must not hold up calls under way.
        module = await asyncio.get_running_loop().run_in_executor(None, importlib.import_module, "frontend.sdk_app")
        if self._own_server:
            module.leave_draining_to_the_server()
        sdk: SdkApp = module.SdkApp(self._settings, self._gate, self._pooler, self._health, self.watch.take_back)
        await sdk.start()
        if self._offer is not None and self._compiled is not None:
            sdk.publish(self._offer, self._compiled)
        if self._leaving:
            sdk.leave()
        self._sdk = sdk
        return sdk
