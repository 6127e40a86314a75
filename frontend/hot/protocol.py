"""HTTP connections as uvicorn keeps them, with the short way in front: a plain call gets no scope, cycle or task.

uvicorn goes on to own the connection: its parser, keep-alive, limits, pipeline and shutdown. While a plain call is read
or under way a stand-in takes the place of uvicorn's cycle, so that requests behind it wait and a shutdown lets it be
answered. What turns out not to be plain is handed to uvicorn as if it had just come.
"""

import asyncio
from typing import Any, cast

from uvicorn._types import HTTPScope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from frontend.auth import Caller
from frontend.hot.answers import Answer, event, ping
from frontend.hot.desk import Desk, Leave, Plain
from frontend.hot.heads import Form, Head, Headers
from frontend.hot.watch import Watch

PATH = b"/mcp"

PING_SECONDS = 15.0
"""When the SDK turns a silent answer to an event stream, and how often it then says that it still lives."""

PATIENCE_SECONDS = 0.5
"""How long a call in a conversation is plain. After that it is begun again as a run, which can be gone on with after a
broken connection and cancelled through any frontend: only declared short reads come this way, which may be repeated."""

OPEN_SECONDS = 1.0
"""How long a client whose answers come on event streams waits for the head of one."""

_JSON = b"content-type: application/json\r\nvary: Origin\r\n"
_STATELESS = (
    b"cache-control: no-cache, no-transform\r\nconnection: keep-alive\r\ncontent-type: text/event-stream\r\n"
    b"x-accel-buffering: no\r\nvary: Origin\r\n"
)
_MODERN = (
    b"content-type: text/event-stream\r\ncache-control: no-cache, no-transform\r\nconnection: keep-alive\r\n"
    b"x-accel-buffering: no\r\nvary: Origin\r\n"
)
_CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
_CLOSE = b"connection: close\r\n"


class _Nobody:
    """Who waits for news of a plain request: no task does."""

    def set(self) -> None:
        """Nobody to wake."""


class StandIn:
    """In the place of uvicorn's cycle, with what its protocol asks of one."""

    message_event = _Nobody()

    def __init__(self) -> None:
        self.response_complete = True
        self.disconnected = False
        self.keep_alive = True


class HotProtocol(HttpToolsProtocol):
    """One connection of one client."""

    desk: Desk
    watch: Watch

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._stand_in = StandIn()
        self._no_cycle = cast("RequestResponseCycle", self._stand_in)
        self._head: Head | None = None
        """Of the request whose body is being read."""
        self._headers_before: Headers = []
        self._head_before: Head | None = None
        self._body = b""
        self._asked: HTTPScope | None = None
        """What uvicorn has noted of the request so far."""
        self._call: Plain | None = None
        """What is under way."""
        self._leave: Leave | None = None
        self._since = 0.0
        self._heard = 0.0
        """When something was last written, or should have been, of an answer that is awaited."""
        self._streaming = False

    # What uvicorn's parser says

    def on_header(self, name: bytes, value: bytes) -> None:
        # As uvicorn does, but for what only one request in many has: that is looked for once, below.
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._head = self._plain_head()
        if self._head is None:
            self.expect_100_continue = any(_is_expectation(*header) for header in self.headers)
            super().on_headers_complete()
            return
        stand_in = self._stand_in
        stand_in.response_complete = stand_in.disconnected = False
        stand_in.keep_alive = self.parser.should_keep_alive()
        self._asked = self.scope
        self.cycle = self._no_cycle
        self._body = b""

    def on_body(self, body: bytes) -> None:
        if self._head is None:
            super().on_body(body)
        else:
            self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        head, self._head = self._head, None
        if head is None:
            super().on_message_complete()
            return
        self._since = self._heard = self.loop.time()
        self._streaming = False
        if self.desk.ready:
            self.take_up(head)
        else:
            self.watch.wait(self, head)

    def connection_lost(self, exc: Exception | None) -> None:
        self._give_up()
        super().connection_lost(exc)

    # The short way

    def _plain_head(self) -> Head | None:
        """The headers of what may be a plain call; None for all that is uvicorn's."""
        cycle, limit = self.cycle, self.limit_concurrency
        if self.url != PATH or (cycle is not None and not cycle.response_complete):
            return None
        parser = self.parser
        if parser.get_method() != b"POST" or parser.get_http_version() != "1.1" or parser.should_upgrade():
            return None
        if self.flow.write_paused or self.flow.read_paused:
            return None
        if limit is not None and (len(self.connections) >= limit or len(self.tasks) >= limit):
            return None
        # A client says the same with most of its requests: what that means is known from the one before.
        if self.headers != self._headers_before:
            self._headers_before, self._head_before = self.headers, self.desk.head(self.headers)
        return self._head_before

    def take_up(self, head: Head) -> None:
        """Answers a request that is read: the short way if it may, else the long one."""
        plain = self.desk.read(head, self._body)
        if plain is None:
            self.hand_over()
        elif plain.answer is not None:
            self._call = plain
            self._finish(plain, plain.answer)
        else:
            self._call = plain
            self._leave = self.desk.begin(plain, self._done)
            self.watch.add(self)

    def _done(self, plain: Plain, answer: Answer | None) -> None:
        if plain is not self._call:
            return
        if self.transport.is_closing():
            self._give_up()
        elif answer is None:
            self.hand_over()
        else:
            self._finish(plain, answer)

    def _finish(self, plain: Plain, answer: Answer) -> None:
        self.watch.discard(self)
        self._call = self._leave = None
        self._body = b""
        self.desk.answered += 1
        stand_in = self._stand_in
        self.transport.write(self._ending(plain, answer))
        stand_in.response_complete = True
        if not stand_in.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _ending(self, plain: Plain, answer: Answer) -> bytes:
        """The response, or what is left of it."""
        if self._streaming:
            return _chunk(event(answer.message)) + b"0\r\n\r\n"
        if plain.form is Form.STATELESS:
            return self._opening(plain.form) + _chunk(event(answer.message)) + b"0\r\n\r\n"
        head = self._status(answer.status)
        close = b"" if self._stand_in.keep_alive else _CLOSE
        return b"%bcontent-length: %d\r\n%b%b\r\n%b" % (head, len(answer.message), _JSON, close, answer.message)

    def _status(self, status: int) -> bytes:
        line = STATUS_LINE[status]
        for name, value in self.server_state.default_headers:
            line += b"%b: %b\r\n" % (name, value)
        return line

    def _opening(self, form: Form) -> bytes:
        """The head of an event stream."""
        headers = _MODERN if form is Form.MODERN else _STATELESS
        return self._status(200) + headers + (b"" if self._stand_in.keep_alive else _CLOSE) + _CHUNKED

    def grow_older(self, now: float) -> None:
        """Looked at from time to time while a call is under way."""
        plain = self._call
        if plain is None:
            return
        if plain.form is Form.CONVERSATION:
            if now - self._since >= PATIENCE_SECONDS:
                self.hand_over()
            return
        if plain.form is Form.STATELESS and not self._streaming and now - self._since >= OPEN_SECONDS:
            self._streaming = True
            self.transport.write(self._opening(plain.form))
        if now - self._heard >= PING_SECONDS:
            self._heard += PING_SECONDS
            opening = b"" if self._streaming else self._opening(plain.form)
            self._streaming = True
            self.transport.write(opening + _chunk(ping(plain.form)))

    def take_back(self, caller: Caller, conversation: str, id_: bytes) -> bool:
        """Ends the call if it is this one, and says so to whoever waits for its answer."""
        plain, leave = self._call, self._leave
        if plain is None or leave is None or (plain.call.caller, plain.call.conversation, plain.id) != (
            caller, conversation, id_,
        ):  # fmt: skip
            return False
        leave()
        self._finish(plain, self.desk.taken_back(plain))
        return True

    def _give_up(self) -> None:
        """Takes back what is under way: its client has gone."""
        self.watch.discard(self)
        leave, self._leave, self._call, self._head = self._leave, None, None, None
        if leave is not None:
            leave()

    # The long way

    def hand_over(self) -> None:
        """Gives the request to uvicorn whole, as if it had just come."""
        body, keep_alive, scope = self._body, self._stand_in.keep_alive, self._asked
        assert scope is not None
        scope |= {"method": "POST", "path": self.root_path + PATH.decode(), "raw_path": PATH, "query_string": b""}
        self._give_up()
        self._body = b""
        cycle = RequestResponseCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.body += body
        cycle.more_body = False
        cycle.message_event.set()
        self._stand_in.response_complete = True
        if self.cycle is self._no_cycle:
            self.cycle = cycle
        self._start_asgi_task(cycle, self.app)


def _is_expectation(name: bytes, value: bytes) -> bool:
    return name == b"expect" and value.lower() == b"100-continue"


def protocol_of(desk: Desk, watch: Watch) -> type[HotProtocol]:
    """The protocol of one frontend's connections, as uvicorn wants to be given it."""
    return type("HotProtocol", (HotProtocol,), {"desk": desk, "watch": watch})


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
