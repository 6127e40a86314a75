"""gRPC over HTTP/2 on asyncio's own transports, for `Exchange` alone: the pooler's end of a neighbour's connection.

The frames of HTTP/2 are h2's business; here stands who may come in, and who is sent away. Whatever a client sends takes
no more memory than its windows, a message for each of its few streams and some answers that it has not read, and ends
nothing but its own connection.
"""

import asyncio
from collections.abc import Callable
from typing import cast

import structlog
from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from pooler.service.exchange import Exchange
from pooler.service.framing import UNIMPLEMENTED
from pooler.service.http2_line import BEGINNING, Headers, Http2Line, trailers
from pooler.service.line import Line

log = structlog.get_logger(__name__)

EXCHANGE = "/penstock.v1.PoolerService/Exchange"
STREAMS_MAX = 16
"""A frontend has one, or two while it changes over."""
WINDOW_BYTES = 1 << 20
"""How much a client may send ahead of what was taken, on each stream."""
FRAME_BYTES = 1 << 20
"""A batch of ours in one frame: h2 takes some ten microseconds for each."""
HIGH_WATER_BYTES = 256 << 10
"""When so much is in the transport, its line has no room."""
UNREAD_BYTES_MAX = HIGH_WATER_BYTES + (4 << 20)
"""Beyond that it is acknowledgements which pile up: of pings and settings that a client sends and does not read."""
REQUEST_SECONDS = 10.0
"""How long a new connection may take to say what it wants."""
PING_SHARE = 2 / 3
"""Of the time after which a silent client counts as gone, it is pinged after this share, and has the rest to reply."""


class Connection(asyncio.Protocol):
    """One connection. `accept` makes a stream an exchange; `gone` hears when all is over."""

    def __init__(
        self,
        accept: Callable[[Line], Exchange],
        gone: Callable[["Connection"], None],
        message_bytes_max: int,
        vanished_seconds: float,
    ) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.writable = True
        self._accept = accept
        self._gone = gone
        self._message_bytes_max = message_bytes_max
        self._vanished_seconds = vanished_seconds
        self._lines: dict[int, Http2Line] = {}
        self._heard = False
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        """Whether an exchange is open on it."""
        return bool(self._lines)

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = made = cast("asyncio.Transport", transport)  # uvloop's is none by descent
        made.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self.h2.initiate_connection()
        self.h2.update_settings({
            SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS_MAX,
            SettingCodes.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
            SettingCodes.MAX_FRAME_SIZE: FRAME_BYTES,
        })  # fmt: skip
        self.h2.increment_flow_control_window(STREAMS_MAX * WINDOW_BYTES)
        self.send()
        self._look_in(REQUEST_SECONDS, self.abort)

    def data_received(self, data: bytes) -> None:
        self._heard = True
        try:
            for event in self.h2.receive_data(data):
                self._take(event)
        except ProtocolError as error:
            log.info("a neighbour broke HTTP/2", cause=str(error) or type(error).__name__)
            self.close()
            return
        self.send()
        assert self._transport is not None
        if (unread := self._transport.get_write_buffer_size()) > UNREAD_BYTES_MAX:
            log.info("a neighbour does not read what it is answered", unread_bytes=unread)
            self.abort()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self._tell_of_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._look_in(0.0, None)
        self._lose_lines()
        self._gone(self)

    # What its line and its owner want

    def send(self) -> None:
        """Writes what HTTP/2 has ready."""
        transport = self._transport
        if transport is not None and (data := self.h2.data_to_send()) and not transport.is_closing():
            transport.write(data)

    def acknowledge(self, count: int, stream_id: int) -> None:
        """So many bytes were taken: the client may send as many more."""
        self.h2.acknowledge_received_data(count, stream_id)

    def line_is_over(self, line: Http2Line) -> None:
        """Its end was sent."""
        if self._lines.get(line.stream_id) is not line:
            return
        if not line.half_closed:
            self._reset(line.stream_id, ErrorCodes.NO_ERROR)  # as gRPC says that it reads no further
        self._lose(line.stream_id)

    def close(self) -> None:
        """Says what there is to be said, and closes. Harmless before it is connected, and when it is closed."""
        self._lose_lines()
        if self._transport is not None:
            self.send()
            self._transport.close()

    def abort(self) -> None:
        """Closes without a word."""
        self._lose_lines()
        if self._transport is not None:
            self._transport.abort()

    # HTTP/2

    def _take(self, event: events.Event) -> None:
        match event:
            case events.DataReceived(stream_id=stream_id, data=data, flow_controlled_length=counted):
                if line := self._lines.get(stream_id):
                    line.receive(data, counted)
                else:
                    self.acknowledge(counted, stream_id)
            case events.WindowUpdated() | events.RemoteSettingsChanged():
                self._tell_of_room()
            case events.RequestReceived(headers=headers, stream_id=stream_id):
                self._request(stream_id, {str(name): str(value) for name, value in headers})
            case events.StreamEnded(stream_id=stream_id):
                if line := self._lines.get(stream_id):
                    line.half_close()
            case events.StreamReset(stream_id=stream_id):
                self._lose(stream_id)
            case events.ConnectionTerminated() if not self._lines:
                self.close()

    def _request(self, stream_id: int, headers: dict[str, str]) -> None:
        if headers.get(":method") != "POST" or not headers.get("content-type", "").startswith("application/grpc"):
            self._refuse(stream_id, [(":status", "415")])
        elif headers.get(":path") != EXCHANGE:
            sentence = f"Only {EXCHANGE} is served here; everything else at the pooler's own address."
            self._refuse(stream_id, BEGINNING + trailers(UNIMPLEMENTED, sentence))
        else:
            self.h2.send_headers(stream_id, BEGINNING)
            line = self._lines[stream_id] = Http2Line(self, stream_id, self._message_bytes_max)
            line.carry(self._accept(line))
            self._look_in(self._vanished_seconds * PING_SHARE, self._ask_for_a_sign)

    def _tell_of_room(self) -> None:
        for line in list(self._lines.values()):
            line.room()

    def _refuse(self, stream_id: int, headers: Headers) -> None:
        self.h2.send_headers(stream_id, headers, end_stream=True)
        self._reset(stream_id, ErrorCodes.NO_ERROR)

    def _reset(self, stream_id: int, code: ErrorCodes) -> None:
        try:
            self.h2.reset_stream(stream_id, code)
        except ProtocolError:
            return  # closed by the client already
        self.send()

    def _lose(self, stream_id: int) -> None:
        if line := self._lines.pop(stream_id, None):
            line.lose()

    def _lose_lines(self) -> None:
        for stream_id in list(self._lines):
            self._lose(stream_id)

    # A client that is gone without a word

    def _ask_for_a_sign(self) -> None:
        if self._heard:
            self._heard = False
            self._look_in(self._vanished_seconds * PING_SHARE, self._ask_for_a_sign)
            return
        self.h2.ping(b"penstock")
        self.send()
        self._look_in(self._vanished_seconds * (1 - PING_SHARE), self._expect_a_sign)

    def _expect_a_sign(self) -> None:
        if self._heard:
            self._ask_for_a_sign()
        else:
            log.info("a neighbour has vanished", silent_seconds=self._vanished_seconds)
            self.abort()

    def _look_in(self, seconds: float, look: Callable[[], None] | None) -> None:
        """What is done next about a client that says nothing; None: nothing any more."""
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self._loop.call_later(seconds, look) if look is not None else None
