"""A line over HTTP/2 on asyncio's own transports: for a pooler on the same machine, at a third of what grpcio costs.

The frames of HTTP/2 are h2's business, the messages are `framing`'s; here stands what gRPC's few headers and trailers
mean, and when there is room. One connection is one line. Imported only when there is a neighbour to reach.
"""

import asyncio
from typing import cast
from urllib.parse import unquote

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from frontend.pooler_client.framing import FramingError, Messages, framed
from frontend.pooler_client.line import Listener
from frontend.pooler_client.way import EXCHANGE

STREAM = 1
WINDOW_BYTES = 8 << 20
"""How much a pooler may send ahead of what was taken; each result has a window of its own besides."""
FRAME_BYTES = 1 << 20
"""A batch of the pooler's in one frame: h2 takes some ten microseconds for each."""
MESSAGE_BYTES_MAX = 8 << 20
"""A pooler's batches are about 1 MiB, and never more than twice that."""
HIGH_WATER_BYTES = 256 << 10
"""When so much is in the transport, the line has no room."""
PING_SECONDS = 20.0
PING_TIMEOUT_SECONDS = 10.0
"""As on a channel of grpcio: a peer that is frozen is noticed within 30 s."""

REQUEST = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "localhost"),
    (":path", EXCHANGE),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
    ("user-agent", "penstock-frontend"),
]


class Http2Line(asyncio.Protocol):
    """A `Line`, once it is connected."""

    def __init__(self) -> None:
        self._h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self._loop = asyncio.get_running_loop()
        self._messages = Messages(MESSAGE_BYTES_MAX)
        self._listener: Listener | None = None
        self._out = memoryview(b"")
        self._writable = True
        self._heard = False
        self._cause = "the pooler ended the stream"
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._watch: asyncio.TimerHandle | None = None

    # What an exchange wants

    @property
    def ready(self) -> bool:
        return not self._out and self._writable

    def listen(self, listener: Listener) -> None:
        self._listener = listener

    def write(self, message: bytes) -> None:
        self._out = memoryview(framed(message))
        self._pump()

    def close(self) -> None:
        self._listener = None
        self._transport.abort()

    async def gone(self) -> None:
        await asyncio.wait({self._gone})

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by descent
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self._h2.initiate_connection()
        self._h2.update_settings({
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
            SettingCodes.MAX_FRAME_SIZE: FRAME_BYTES,
        })  # fmt: skip
        self._h2.increment_flow_control_window(WINDOW_BYTES)
        self._h2.send_headers(STREAM, REQUEST)
        self._send()
        self._watch = self._loop.call_later(PING_SECONDS, self._ask_for_a_sign)

    def data_received(self, data: bytes) -> None:
        self._heard = True
        try:
            for event in self._h2.receive_data(data):
                self._take(event)
        except (ProtocolError, FramingError) as error:
            self._end(f"the pooler broke the protocol: {str(error) or type(error).__name__}")
            return
        self._send()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._room()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._end(f"the connection to the pooler broke: {exc}" if exc is not None else self._cause)
        self._gone.set_result(None)

    # HTTP/2

    def _take(self, event: events.Event) -> None:
        match event:
            case events.DataReceived(data=data, flow_controlled_length=counted):
                self._h2.acknowledge_received_data(counted, STREAM)
                for message in self._messages.feed(data):
                    if self._listener is not None:
                        self._listener.receive(message)
            case events.WindowUpdated() | events.RemoteSettingsChanged():
                self._room()
            case events.ResponseReceived(headers=headers) | events.TrailersReceived(headers=headers):
                self._cause = _cause({str(name): str(value) for name, value in headers}) or self._cause
            case events.StreamEnded() | events.StreamReset() | events.ConnectionTerminated():
                self._end(self._cause)

    def _room(self) -> None:
        self._pump()
        if self.ready and self._listener is not None:
            self._listener.flush()

    def _pump(self) -> None:
        """Gives HTTP/2 as much of the message as its windows take."""
        h2 = self._h2
        try:
            while self._out and (room := min(h2.local_flow_control_window(STREAM), h2.max_outbound_frame_size)) > 0:
                h2.send_data(STREAM, bytes(self._out[:room]))
                self._out = self._out[room:]
        except ProtocolError:
            return  # the pooler has ended the stream, in the bytes that are being read; its event follows
        self._send()

    def _send(self) -> None:
        if (data := self._h2.data_to_send()) and not self._transport.is_closing():
            self._transport.write(data)

    def _end(self, cause: str) -> None:
        listener, self._listener = self._listener, None
        self._transport.abort()
        if listener is not None:
            listener.end(cause)

    # A pooler that is gone without a word

    def _ask_for_a_sign(self) -> None:
        if self._heard:
            self._heard = False
            self._watch = self._loop.call_later(PING_SECONDS, self._ask_for_a_sign)
            return
        self._h2.ping(b"penstock")
        self._send()
        self._watch = self._loop.call_later(PING_TIMEOUT_SECONDS, self._expect_a_sign)

    def _expect_a_sign(self) -> None:
        if self._heard:
            self._ask_for_a_sign()
        else:
            self._end("the pooler does not answer any more")


async def connect(address: str) -> Http2Line:
    """A line to a neighbour's socket, `unix:PATH`. Raises OSError when there is none for us."""
    _, line = await asyncio.get_running_loop().create_unix_connection(Http2Line, address.removeprefix("unix:"))
    return line


def _cause(headers: dict[str, str]) -> str:
    """How a stream ended, or why there is none, as gRPC says it; empty: nothing has ended yet."""
    if headers.get("grpc-status", "0") != "0":
        return f"status {headers['grpc-status']}: {unquote(headers.get('grpc-message', ''))[:200]}"
    if headers.get(":status", "200") != "200":
        return f"HTTP status {headers[':status']}"
    return ""
