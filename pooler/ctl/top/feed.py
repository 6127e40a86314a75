"""What `penstock top` shows, as it comes: a thread that follows a pooler, and comes back to it when it was lost.

It keeps the last two snapshots and the last fault, and writes a byte into a pipe for each; it shows nothing.
"""

import contextlib
import os
import threading
import time
from types import TracebackType
from typing import Any, Self

from pooler.ctl.reach import Reach
from pooler.service.admin_client import AdminClient
from pooler.service.client import CallError

PARTS = ("connections", "queue", "sessions", "runs", "cache", "changes")
ENTRIES = 200
"""Of each list: more than a screen has rows."""
AGAIN_SECONDS = 1.0


class Feed:
    """A context manager; `wakes` can be waited for with `select`."""

    def __init__(self, where: Reach, interval_seconds: float) -> None:
        self.snapshot: dict[str, Any] | None = None
        self.fault = ""
        """Why there is nothing new; empty while there is."""
        self.came_at = 0.0
        """When the snapshot came, by the monotonic clock."""
        self._where = where
        self._interval_ms = round(interval_seconds * 1000)
        self._over = threading.Event()
        self._client: AdminClient | None = None
        self.wakes, self._wake = os.pipe()
        os.set_blocking(self._wake, False)  # as a signal's, it must never wait
        os.set_blocking(self.wakes, False)
        self._thread = threading.Thread(target=self._follow, daemon=True)

    @property
    def wake(self) -> int:
        """Where a byte wakes whoever waits: for signals."""
        return self._wake

    def calm(self) -> None:
        """Takes the bytes out, before looking."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.wakes, 1024):
                pass

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if (client := self._client) is not None:
            client.close()
        self._thread.join(AGAIN_SECONDS)

    def _follow(self) -> None:
        while not self._over.is_set():
            with self._where.client() as client:
                self._client = client
                try:
                    for snapshot in client.watch(PARTS, [], ENTRIES, self._interval_ms):
                        self.snapshot, self.fault, self.came_at = snapshot, "", time.monotonic()
                        self._tell()
                    self.fault = "the pooler has ended the watch"
                except CallError as error:
                    self.fault = error.message
                except ValueError:  # the channel was closed while it was being used
                    return
            self._tell()
            self._over.wait(AGAIN_SECONDS)

    def _tell(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, b"!")
