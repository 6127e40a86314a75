"""gRPC's own framing of messages: a byte that says whether it is compressed, four of length, the message.

From gRPC over HTTP/2, https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. It holds at most one message.
"""

PREFIX_BYTES = 5
UNIMPLEMENTED, RESOURCE_EXHAUSTED, INTERNAL = 12, 8, 13


class FramingError(Exception):
    """What came is no message that can be taken; `code` is the status to end the stream with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def framed(message: bytes) -> bytes:
    """A message as it travels."""
    return len(message).to_bytes(PREFIX_BYTES, "big") + message  # the first byte of five is 0: not compressed


class Messages:
    """Puts messages together from pieces of any size."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._partial = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete with these bytes. Raises FramingError; nothing can be fed after that."""
        if self._partial:
            self._partial += data
            data = bytes(self._partial) if len(self._partial) >= self._wanted(self._partial) else b""
        complete, at = [], 0
        while len(data) - at >= PREFIX_BYTES and len(data) - at >= (size := self._wanted(data, at)):
            complete.append(data[at + PREFIX_BYTES : at + size])
            at += size
        if data:
            self._partial = bytearray(data[at:])
        return complete

    @property
    def empty(self) -> bool:
        """Whether no message has begun."""
        return not self._partial

    def _wanted(self, data: bytes | bytearray, at: int = 0) -> int:
        """How many bytes the message that begins here takes, its prefix included; at least the prefix."""
        if len(data) - at < PREFIX_BYTES:
            return PREFIX_BYTES
        if data[at]:
            raise FramingError(UNIMPLEMENTED, "The message is compressed, and no compression was agreed on.")
        size = int.from_bytes(data[at + 1 : at + PREFIX_BYTES], "big")
        if size > self._bytes_max:
            sentence = f"A message of {size} bytes: at most {self._bytes_max} are taken."
            raise FramingError(RESOURCE_EXHAUSTED, sentence)
        return PREFIX_BYTES + size
