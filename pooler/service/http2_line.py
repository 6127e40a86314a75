"""One stream of gRPC over HTTP/2 as an exchange's line: messages in and out, the status at the end.

What is one connection's stands in `http2`; what a message looks like, in `framing`.
"""

import base64
from collections import deque
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote

from h2.exceptions import ProtocolError

from pooler.errors import Fault
from pooler.service import faults
from pooler.service.exchange import Exchange
from pooler.service.framing import INTERNAL, FramingError, Messages, framed

if TYPE_CHECKING:
    from pooler.service.http2 import Connection

Headers: TypeAlias = list[tuple[str, str]]

BEGINNING: Headers = [(":status", "200"), ("content-type", "application/grpc")]


class Http2Line:
    """A `Line`. Its connection calls `receive`, `half_close`, `room`, and `lose` when stream or connection are gone."""

    def __init__(self, connection: "Connection", stream_id: int, message_bytes_max: int) -> None:
        self.stream_id = stream_id
        self.half_closed = False
        """Whether the client has said that it will send nothing more."""
        self.over = False
        """Whether the end was sent, or nothing can be sent any more."""
        self._connection = connection
        self._exchange: Exchange | None = None
        self._messages = Messages(message_bytes_max)
        self._out = memoryview(b"")
        self._trailers: Headers | None = None
        self._arrived: deque[bytes] = deque()
        """Messages that the exchange has not been given."""
        self._held = False
        self._unacknowledged = 0
        """Of the client's window."""

    def carry(self, exchange: Exchange) -> None:
        """What it carries. Before the first byte."""
        self._exchange = exchange

    # What the exchange wants

    @property
    def from_this_machine(self) -> bool:
        return False  # there is nothing nearer

    @property
    def ready(self) -> bool:
        return not self._out and not self.over and self._connection.writable

    def write(self, message: bytes) -> None:
        self._out = memoryview(framed(message))
        self._pump()

    def hold(self, held: bool) -> None:
        self._held = held
        if not held:
            self._pass_on()

    def end(self, fault: Fault | None) -> None:
        self._finish(status_of(fault))

    # What the connection tells

    def receive(self, data: bytes, counted: int) -> None:
        """Bytes of the client's, and how many they count for in its window."""
        self._unacknowledged += counted
        if self._trailers is None:
            try:
                self._arrived += self._messages.feed(data)
            except FramingError as error:
                self._finish(trailers(error.code, str(error)))
        self._pass_on()

    def half_close(self) -> None:
        """The client will send nothing more."""
        self.half_closed = True
        if not self._messages.empty:
            self._finish(trailers(INTERNAL, "The stream ended in the midst of a message."))
        self._pass_on()

    def _pass_on(self) -> None:
        """Gives the exchange what has arrived, until it holds the line; then no more comes than fits the window."""
        while self._arrived and not self._held and self._exchange is not None:
            self._exchange.receive(self._arrived.popleft())
        if self._held and self._exchange is not None:
            return
        if self._unacknowledged:
            count, self._unacknowledged = self._unacknowledged, 0
            self._connection.acknowledge(count, self.stream_id)
            self._connection.send()
        if self.half_closed and self._exchange is not None and self._trailers is None:
            self._exchange.half_close()

    def room(self) -> None:
        """There may be room again."""
        self._pump()
        if self._exchange is not None and self._trailers is None and self.ready:
            self._exchange.flush()

    def lose(self) -> None:
        """Stream or connection are gone. Harmless when that is known."""
        self.over = True
        self._out = memoryview(b"")
        exchange, self._exchange = self._exchange, None
        self._arrived.clear()
        self._pass_on()
        if exchange is not None:
            exchange.close()

    # Sending

    def _finish(self, ending: Headers) -> None:
        """Ends the stream behind the message that is on its way."""
        if self._trailers is None:
            self._trailers = ending
            self._pump()

    def _pump(self) -> None:
        """Gives HTTP/2 as much of the message as its windows take, and the end behind the last one."""
        if self.over:
            return
        h2, stream_id = self._connection.h2, self.stream_id
        try:
            while self._out and (room := min(h2.local_flow_control_window(stream_id), h2.max_outbound_frame_size)) > 0:
                h2.send_data(stream_id, bytes(self._out[:room]))
                self._out = self._out[room:]
            if self._trailers is not None and not self._out:
                h2.send_headers(stream_id, self._trailers, end_stream=True)
                self.over = True
        except ProtocolError:
            # The client has reset the stream, in the bytes that are being read; `lose` follows.
            self.over = True
        self._connection.send()
        if self.over:
            self._connection.line_is_over(self)


def trailers(code: int, message: str = "", details: bytes = b"") -> Headers:
    """How a stream ends, as gRPC says it."""
    found = [("grpc-status", str(code))]
    if message:
        found.append(("grpc-message", quote(message, safe=" !\"#$&'()*+,/:;<=>?@[]^`{|}")))
    if details:
        found.append(("grpc-status-details-bin", base64.b64encode(details).decode().rstrip("=")))
    return found


def status_of(fault: Fault | None) -> Headers:
    """The same for what a `Fault` stands for; None: all went well."""
    if fault is None:
        return trailers(0)
    status = faults.status_of(fault)
    return trailers(status.code, status.message, status.SerializeToString())
