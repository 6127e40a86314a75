"""The folder in which a pooler keeps what must outlive it: its name, its key for handles, and what it has open.

One pooler owns a folder at a time: two would double every cap. Nothing here reads what a slot file says.
"""

import fcntl
import os
import re
import secrets
from pathlib import Path
from typing import IO

import structlog

from pooler.runtime.handles import KEY_BYTES
from pooler.runtime.slotfiles import SlotFiles

log = structlog.get_logger(__name__)

NAME_BYTES = 4
"""Of chance in a pooler's name. It is part of every tag, and some backends allow 63 characters for a whole one."""
_NAME = re.compile(rf"[0-9a-f]{{{2 * NAME_BYTES}}}")


class StateDirError(Exception):
    """The folder cannot be used; the message says why and what to do."""


class StateDir:
    """An owned folder. The lock goes with the process, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = ""
        """What the pooler of this folder calls itself, once taken; the same after every restart."""
        self._lock: IO[str] | None = None
        self._slots = path / "slots"

    def take(self) -> None:
        """Makes the folder, for its owner's eyes only, locks it and learns its name. Raises StateDirError."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.path / "pooler.lock").open("a+")
        except OSError as error:
            raise self._unusable(error) from error
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
        self._lock = lock
        try:
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            self.name = self._learn_name()
        except OSError as error:
            self.release()
            raise self._unusable(error) from error

    def slots(self, backend: str) -> SlotFiles:
        """The slot files of a backend. Raises StateDirError when there can be none."""
        try:
            return SlotFiles(self._slots, self.name, backend)
        except OSError as error:
            raise self._unusable(error) from error

    def handle_key(self) -> bytes:
        """The key that seals handles where none is configured: made once, for its owner's eyes only.

        Raises StateDirError. One that cannot be read is replaced: the handles that it sealed are then unknown.
        """
        file = self.path / "handle.key"
        try:
            try:
                known = file.read_bytes()
            except FileNotFoundError:
                known = None
            if known is not None and len(known) == KEY_BYTES:
                return known
            if known is not None:
                log.warning("the key of the handles cannot be read, a new one is made", file=str(file))
            key = secrets.token_bytes(KEY_BYTES)
            _write(file, key)
        except OSError as error:
            raise self._unusable(error) from error
        return key

    def backends(self) -> set[str]:
        """The backends of which there are, or were, slot files."""
        return {entry.name for entry in self._slots.iterdir() if entry.is_dir()} if self._slots.is_dir() else set()

    def release(self) -> None:
        """Lets another pooler have it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _learn_name(self) -> str:
        file = self.path / "pooler.id"
        try:
            known = file.read_text().strip()
        except FileNotFoundError:
            known = None
        except UnicodeDecodeError:
            known = ""
        if known is not None and _NAME.fullmatch(known):
            return known
        if known is not None:
            log.warning("the pooler's name cannot be read, it takes a new one", file=str(file))
        name = secrets.token_hex(NAME_BYTES)
        _write(file, f"{name}\n".encode())
        return name

    def _unusable(self, error: OSError) -> StateDirError:
        where = f" ({error.filename})" if error.filename else ""
        return StateDirError(
            f"state_dir {self.path} cannot be used: {error.strerror}{where}; "
            "let the pooler write there, or set pooler.state_dir to a folder of its own"
        )


def _write(file: Path, content: bytes) -> None:
    """Makes or replaces a file in one step, for its owner's eyes only."""
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as made:
        made.write(content)
    new.replace(file)
