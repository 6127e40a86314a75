"""Cuts a stream of bytes into lines, with a bound on what one line may hold. It reads nothing by itself."""


class LineTooLongError(Exception):
    """A line grew past its bound before it ended; nothing that follows can be trusted."""


class Lines:
    """Complete lines out of pieces that end anywhere. Searches each byte once, however long a line becomes."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their ends. Raises LineTooLongError."""
        first, *others = data.split(b"\n")
        self._append(first)
        lines = []
        for other in others:
            lines.append(b"".join(self._parts))
            self._parts, self._size = [], 0
            self._append(other)
        return lines

    def _append(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._bytes_max:
            raise LineTooLongError(f"a line of more than {self._bytes_max} bytes")
        if part:
            self._parts.append(part)


class Excerpts:
    """The beginnings of lines, for a log: what a line has past its bound is left out. Never fails."""

    def __init__(self, chars_max: int) -> None:
        self._chars_max = chars_max
        self._line = bytearray()

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes, as text; blank ones are left out."""
        first, *others = data.split(b"\n")
        self._append(first)
        texts = []
        for other in others:
            texts.extend(self.flush())
            self._append(other)
        return texts

    def flush(self) -> list[str]:
        """What has come of a line whose end has not: one text, or none."""
        text = self._line.decode(errors="replace").strip()
        self._line.clear()
        if len(text) > self._chars_max:
            text = text[: self._chars_max] + "…"
        return [text] if text else []

    def _append(self, part: bytes) -> None:
        # Four bytes make at most one character, and one character more than the bound shows that something is missing.
        room = 4 * (self._chars_max + 1) - len(self._line)
        self._line += part[: max(room, 0)]
