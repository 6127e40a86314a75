"""Slot files: what tells a pooler which connections the one before it has left, when that one was killed.

There is a file for each slot, `slots/BACKEND/NUMBER` in the state folder: made and locked before a start begins, and
removed when the slot is gone. A worker process inherits the locked descriptor, so the lock lives as long as anything of
it does that keeps its descriptors, also when that has left the group. A few small file operations a start, none a call;
nothing is synced to the disk, since a machine that stops takes its processes with it.

Nothing here signals a process, asks a backend or decides what becomes of a slot.
"""

import errno
import fcntl
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from pooler.backends.base import Notes, Orphans, Tag
from pooler.runtime.processes import boot, born

log = structlog.get_logger(__name__)

_NUMBER = re.compile(r"[1-9][0-9]{0,15}")
RECORD_BYTES_MAX = 4096
"""Far more than a record has; what is longer is none."""


class SlotFileError(Exception):
    """There can be no slot file, so nothing may be started; the message says why."""


class Record(BaseModel):
    """What stands in a slot file, as one JSON object."""

    model_config = ConfigDict(extra="ignore")

    tag: str
    kind: str
    orphans: Orphans
    since: str
    """When the slot was taken; for people only."""
    pid: int | None = None
    """The worker process: its number, and that of its group and session."""
    born: str | None = None
    """When that process began, as `processes.born` says it: the number may have been given to another one since."""
    notes: Notes = {}
    """What the adapter wrote down for its own `census`."""
    boot: str | None = None
    closed_at: float | None = None
    """Which run of the machine it was, and how many seconds old, when the connection was closed without proof."""


class SlotFile:
    """The file of one slot of this pooler, open and locked. The adapters see it as `base.Mark`."""

    def __init__(self, path: Path, record: Record) -> None:
        """Raises OSError when it cannot be made; then there is none."""
        self._path = path
        self._record = record
        self.descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._write()
        except OSError:
            self.remove()
            raise

    def led_by(self, pid: int) -> None:
        """Notes the process that was started for the slot. It must not have been reaped."""
        self._record.pid, self._record.born = pid, born(pid)
        self._rewrite()

    def note(self, notes: Notes) -> None:
        """Keeps what the adapter will need in order to ask the backend about this connection."""
        self._record.notes = notes
        self._rewrite()

    def closed(self) -> None:
        """Notes when the connection was closed, for one that waits out what nobody can confirm."""
        if hasattr(time, "CLOCK_BOOTTIME"):
            self._record.boot, self._record.closed_at = boot(), time.clock_gettime(time.CLOCK_BOOTTIME)
            self._rewrite()

    def remove(self) -> None:
        """The slot is gone. What still has the descriptor holds a lock on nothing."""
        self._path.unlink(missing_ok=True)
        self.let_go()

    def let_go(self) -> None:
        """Closes it, and leaves it where it is."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _rewrite(self) -> None:
        try:
            self._write()
        except OSError as error:
            # The lock and the tag still tell of the slot; what is missing makes its end harder to confirm, not untrue.
            log.warning("slot file not updated", file=str(self._path), error=error.strerror)

    def _write(self) -> None:
        # In one piece, and then to its length: a pooler that is killed in between leaves at worst a broken record.
        record = self._record.model_dump_json(exclude_none=True).encode()
        os.pwrite(self.descriptor, record, 0)
        os.ftruncate(self.descriptor, len(record))

    def __repr__(self) -> str:
        return f"SlotFile({str(self._path)!r})"


@dataclass(frozen=True, slots=True, eq=False)
class Leftover:
    """The slot file of a pooler that was killed. Of a broken one, only its place says what it stood for."""

    path: Path
    tag: Tag
    kind: str | None = None
    orphans: Orphans | None = None
    pid: int | None = None
    born: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    closed_seconds: float = 0.0
    """How long ago it was closed, as far as anybody knows."""

    def locked(self) -> bool:
        """Whether something that inherited the descriptor still lives."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def remove(self) -> None:
        """Nothing of it is left."""
        self.path.unlink(missing_ok=True)


class SlotFiles:
    """The slot files of one backend."""

    def __init__(self, folder: Path, pooler: str, backend: str) -> None:
        """Makes the folder, or makes sure of it. Raises OSError."""
        self._folder = folder / backend
        self._pooler = pooler
        self._backend = backend
        self._held: dict[int, SlotFile] = {}
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(self._folder, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self._folder))

    def take(self, number: int, kind: str, orphans: Orphans) -> SlotFile:
        """The file of a slot in which a start is to begin. Raises SlotFileError."""
        tag = Tag(self._pooler, self._backend, number)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        record = Record(tag=str(tag), kind=kind, orphans=orphans, since=since)
        try:
            file = self._held[number] = SlotFile(self._folder / str(number), record)
        except OSError as error:
            raise SlotFileError(
                f"no slot file could be made in the state folder ({error.strerror}), so nothing may be started"
            ) from error
        return file

    def remove(self, number: int) -> None:
        """A slot is gone. Nothing happens for one that was not taken here."""
        if (file := self._held.pop(number, None)) is not None:
            file.remove()

    def let_go(self) -> None:
        """Leaves the files that are still there to whoever comes next: nobody knows yet whether they are gone."""
        while self._held:
            self._held.popitem()[1].let_go()

    def left(self) -> list[Leftover]:
        """What is there already, by number. What cannot be read counts all the same; what is no slot file does not."""
        found = []
        for path in sorted(self._folder.iterdir()):
            if _NUMBER.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                found.append(self._read(path))
            else:
                log.warning("no slot file, left alone", file=str(path))
        return sorted(found, key=lambda leftover: leftover.tag.slot)

    def _read(self, path: Path) -> Leftover:
        number = int(path.name)
        try:
            with path.open("rb") as file:
                record = Record.model_validate_json(file.read(RECORD_BYTES_MAX + 1))
        except (OSError, ValidationError) as error:
            why = error.strerror if isinstance(error, OSError) else "is no record of a slot"
            log.warning("broken slot file, its slot counts until it is waited out", file=str(path), error=why)
            return Leftover(path, Tag(self._pooler, self._backend, number))
        return Leftover(
            path,
            self._tag(record.tag, number, path),
            record.kind,
            record.orphans,
            record.pid,
            record.born,
            record.notes,
            _seconds_since(record),
        )

    def _tag(self, text: str, number: int, path: Path) -> Tag:
        """The tag that was written down: its pooler's name may be one that this folder has lost."""
        prefix, pooler, backend, slot = [*text.split("/"), "", "", "", ""][:4]
        if (prefix, backend, slot) != ("penstock", self._backend, str(number)) or not pooler:
            log.warning("slot file of another place", file=str(path), tag=text)
            pooler = self._pooler
        return Tag(pooler, self._backend, number)


def _seconds_since(record: Record) -> float:
    """By the machine's own count, which no correction of its clock changes; in another run of it, nobody knows."""
    if record.closed_at is None or record.boot is None or record.boot != boot():
        return 0.0
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - record.closed_at)
