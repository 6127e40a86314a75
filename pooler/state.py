"""The folder in which a pooler keeps what must outlive it. One pooler owns it at a time: two would double every cap."""

import fcntl
import os
from pathlib import Path
from typing import IO


class StateDirError(Exception):
    """The folder cannot be used; the message says why and what to do."""


class StateDir:
    """An owned folder. The lock goes with the process, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    def take(self) -> None:
        """Makes the folder, for its owner's eyes only, and locks it. Raises StateDirError."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.path / "pooler.lock").open("a+")
        except OSError as error:
            raise StateDirError(f"state_dir {self.path} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read(20).strip() or "unknown"
            lock.close()
            raise StateDirError(
                f"state_dir {self.path} belongs to a running pooler (process {owner}); "
                "stop it first, or give this one a pooler.state_dir of its own"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def release(self) -> None:
        """Lets another pooler have it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
