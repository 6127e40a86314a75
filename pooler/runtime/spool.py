"""The rest of a result, until somebody fetches it: a log of records in memory, and behind a bound in files.

A record is put at the end and read by its offset, any number of times; everything before an offset is freed at once,
and its bytes are given back to whoever accounts for them. A file has no name: it is gone with the process, however that
ends. Nothing here knows what a record says, whom it belongs to, or how long it is kept.
"""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple, Protocol, TypeVar

T = TypeVar("T")

SEGMENT_BYTES = 16 << 20
"""A file is given back to the disk as a whole, so a long log has several, of about this size."""
READ_BYTES = 1 << 18
"""What is read on the loop's own thread: it comes from the page cache in some 50 µs. What is longer is read aside."""
_LENGTH_BYTES = 4


class Account(Protocol):
    """Who pays for what is kept."""

    def add(self, count: int) -> None:
        """So many bytes more; fewer when negative."""


class Aside(Protocol):
    """Runs a function where it stalls nobody."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


class Place(NamedTuple):
    """Where the files of a spool go, and how they are written."""

    folder: Path
    aside: Aside = asyncio.to_thread

    def file(self) -> IO[bytes]:
        """A new file. Raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=self.folder, buffering=0)


class _Segment:
    """A file with a part of the log. It is closed when it is neither wanted nor in use by a thread."""

    def __init__(self, file: IO[bytes], start: int) -> None:
        self._file = file
        self._start = start
        self.end = start
        self._users = 0
        self._wanted = True

    @property
    def full(self) -> bool:
        return self.end - self._start >= SEGMENT_BYTES

    @contextmanager
    def in_use(self) -> Iterator[None]:
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            self._close_unless_needed()

    def give_up(self) -> None:
        self._wanted = False
        self._close_unless_needed()

    def write(self, data: bytes) -> None:
        """May be called in a thread."""
        view, offset = memoryview(data), self.end - self._start
        while view:
            count = os.pwrite(self._file.fileno(), view, offset)
            view, offset = view[count:], offset + count

    def read(self, offset: int, count: int) -> bytes:
        """May be called in a thread."""
        return os.pread(self._file.fileno(), count, offset - self._start)

    def _close_unless_needed(self) -> None:
        if not self._wanted and not self._users:
            self._file.close()


class Spool:
    """One log. One task puts and settles, any number of others read."""

    __slots__ = (
        "_account",
        "_closed",
        "_in_memory",
        "_memory",
        "_memory_bytes",
        "_place",
        "_segments",
        "_start",
        "end",
    )

    def __init__(self, place: Place, memory_bytes: int, account: Account) -> None:
        """`memory_bytes`: about how much may stay in memory, once `settle` has been awaited."""
        self.end = 0
        """The offset of the next record."""
        self._place = place
        self._memory_bytes = memory_bytes
        self._account = account
        self._start = 0
        self._memory: dict[int, bytes] = {}
        self._in_memory = 0
        self._segments: list[_Segment] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"Spool({self.end - self._start} bytes, {self._in_memory} in memory, {len(self._segments)} files)"

    def put(self, record: bytes) -> None:
        """Adds a record at the end. It is in memory until the next `settle`."""
        if self._closed:
            return
        size = _LENGTH_BYTES + len(record)
        self._memory[self.end] = record
        self._in_memory += size
        self.end += size
        self._account.add(size)

    async def settle(self) -> None:
        """Writes what is in memory to the file, when it is too much. Raises OSError: the disk is full, or gone."""
        if self._in_memory <= self._memory_bytes or self._closed:
            return
        batch = dict(self._memory)
        written = b"".join(part for record in batch.values() for part in (_length(record), record))
        segment = self._segment(next(iter(batch)))
        with segment.in_use():
            await self._place.aside(partial(segment.write, written))
        segment.end += len(written)
        for offset in batch:
            self._forget(offset)

    async def read(self, offset: int) -> tuple[bytes, int]:
        """The record at an offset, and the offset of the one behind it. Raises OSError."""
        record = self._memory.get(offset)
        if record is None:
            segment = next(segment for segment in self._segments if offset < segment.end)
            with segment.in_use():
                record = await self._read(segment, offset)
        return record, offset + _LENGTH_BYTES + len(record)

    def free(self, before: int) -> None:
        """Drops all records before an offset, and gives back what they took."""
        if before > self._start:
            self._account.add(self._start - before)
            self._start = before
        while self._memory and (first := next(iter(self._memory))) < before:
            self._forget(first)
        while len(self._segments) > 1 and self._segments[0].end <= before:  # the last one may be growing
            self._segments.pop(0).give_up()

    def close(self) -> None:
        """Drops everything."""
        self._closed = True
        self.free(self.end)
        while self._segments:
            self._segments.pop().give_up()

    def _segment(self, start: int) -> _Segment:
        """The file that goes on at this offset."""
        if not self._segments or self._segments[-1].full or self._segments[-1].end != start:
            self._segments.append(_Segment(self._place.file(), start))
        return self._segments[-1]

    def _forget(self, offset: int) -> None:
        record = self._memory.pop(offset, None)
        if record is not None:
            self._in_memory -= _LENGTH_BYTES + len(record)

    async def _read(self, segment: _Segment, offset: int) -> bytes:
        near = segment.read(offset, READ_BYTES)
        end = _LENGTH_BYTES + int.from_bytes(near[:_LENGTH_BYTES], "big")
        if end <= len(near):
            return near[_LENGTH_BYTES:end]
        rest = await self._place.aside(partial(segment.read, offset + len(near), end - len(near)))
        return near[_LENGTH_BYTES:] + rest


def _length(record: bytes) -> bytes:
    return len(record).to_bytes(_LENGTH_BYTES, "big")
