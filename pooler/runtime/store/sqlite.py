"""The store that survives its pooler: a SQLite file, worked on by one thread, many requests to a transaction.

While the thread has a batch, whatever is asked meanwhile gathers and becomes the next one. So a request alone waits for
nothing, and a thousand share one commit. It decides nothing: `file` does, in the thread.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pooler.clock import Clock
from pooler.runtime.store.base import Store, StoreBounds
from pooler.runtime.store.file import StoreFile
from pooler.runtime.threads import PinnedThread

T = TypeVar("T")
Asked = tuple[Callable[[StoreFile], Any], "asyncio.Future[Any]"]


class SqliteStore(Store):
    """Made by `open_store`. Methods raise Fault when the file fails, too: INTERNAL, or STORE_FULL for a full disk."""

    def __init__(self, file: StoreFile, thread: PinnedThread) -> None:
        self._file = file
        self._thread = thread
        self._asked: list[Asked] = []
        self._at_work = False

    async def put(self, kind: str, key: str, value: bytes, expires_at: float) -> None:
        await self._ask(lambda file: file.put(kind, key, value, expires_at))

    async def get(self, kind: str, key: str) -> bytes | None:
        return await self._ask(lambda file: file.get(kind, key))

    async def all(self, kind: str) -> list[tuple[str, bytes]]:
        return await self._ask(lambda file: file.all(kind))

    async def delete(self, kind: str, key: str) -> None:
        await self._ask(lambda file: file.delete(kind, key))

    async def delete_under(self, key: str) -> None:
        await self._ask(lambda file: file.delete_under(key))

    async def append(self, key: str, seq: int, event: bytes) -> None:
        await self._ask(lambda file: file.append(key, seq, event))

    async def read(self, key: str, after: int) -> list[tuple[int, bytes]]:
        return await self._ask(lambda file: file.read(key, after))

    async def sweep(self, now: float) -> None:
        await self._ask(lambda file: file.sweep(now))

    async def close(self) -> None:
        await self._ask(lambda file: None)  # all that was asked before it is done then
        await self._thread.submit(self._file.close)
        self._thread.end()

    def _ask(self, job: Callable[[StoreFile], T]) -> "asyncio.Future[T]":
        """Whoever cancels it lets go of the result; the work is done all the same."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._asked.append((job, future))
        if not self._at_work:
            self._send()
        return future

    def _send(self) -> None:
        batch, self._asked = self._asked, []
        self._at_work = True
        ran = self._thread.submit(partial(self._file.run, [job for job, _ in batch]))
        ran.add_done_callback(partial(self._settle, batch))

    def _settle(self, batch: list[Asked], ran: "asyncio.Future[list[Any]]") -> None:
        self._at_work = False
        if self._asked:
            self._send()
        failure = ran.exception()
        results = [failure] * len(batch) if failure else ran.result()
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)


async def open_store(path: Path, wall: Clock, bounds: StoreBounds | None = None) -> SqliteStore:
    """The store in a file, made when it is not there. `wall`: Unix time in seconds. Raises StoreError.

    A file that is damaged, or of another version, is set aside with a line in the log, and a new one begun.
    """
    thread = PinnedThread("store")
    try:
        file = await thread.submit(lambda: StoreFile(path, wall, bounds or StoreBounds()))
    except BaseException:
        thread.end()
        raise
    return SqliteStore(file, thread)
