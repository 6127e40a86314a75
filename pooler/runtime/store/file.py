"""The SQLite file of a store: its schema, its statements, and what is done about damage. Belongs to one thread."""

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog

from pooler.clock import Clock
from pooler.errors import Fault, Reason
from pooler.runtime.store.base import ENTRY_BYTES, FULL_RETRY_MS, StoreBounds, StoreError, full

log = structlog.get_logger(__name__)

VERSION = 1
"""Of the schema. A file of another version is set aside: what it holds would have expired within a day."""

_SCHEMA = f"""
BEGIN;
CREATE TABLE entries (
  kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, expires_at REAL NOT NULL, PRIMARY KEY (key, kind));
CREATE INDEX entries_by_time ON entries (expires_at);
CREATE TABLE events (key TEXT NOT NULL, seq INTEGER NOT NULL, event BLOB NOT NULL, PRIMARY KEY (key, seq));
PRAGMA user_version = {VERSION};
COMMIT;
"""
_PRAGMAS = ("journal_mode = WAL", "synchronous = NORMAL")
"""A commit is the operating system's at once, and the disk's a little later: only a machine that stops can lose one."""
_SOUND = "ok"
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BESIDE = ("-wal", "-shm")
"""The files that SQLite keeps beside its own."""

Job = Callable[["StoreFile"], Any]


class _Unreadable(Exception):
    """A file that this program cannot go on with; the message says why."""


class StoreFile:
    """`wall`: Unix time in seconds. Raises StoreError when there can be no file at all."""

    def __init__(self, path: Path, wall: Clock, bounds: StoreBounds) -> None:
        self._path = path
        self._wall = wall
        self._bounds = bounds
        self._count = 0
        self._bytes = 0
        try:
            self._sql = self._opened()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"the store {path} cannot be opened: {error}") from error

    # The jobs. Each runs within a transaction that `run` has begun.

    def put(self, kind: str, key: str, value: bytes, expires_at: float) -> None:
        """Makes or replaces an entry. Raises Fault when there is no room."""
        now = self._wall()
        if self._crowded(len(value)) or self._one("SELECT 1 FROM entries WHERE key = ? AND expires_at <= ?", key, now):
            self.sweep(now)  # what is put must not find the events of what has expired
        before = self._one("SELECT length(value) FROM entries WHERE kind = ? AND key = ?", kind, key)
        self._weigh(len(value), before)
        self._sql.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", (kind, key, value, expires_at))

    def get(self, kind: str, key: str) -> bytes | None:
        """An entry that is alive."""
        alive = "SELECT value FROM entries WHERE kind = ? AND key = ? AND expires_at > ?"
        value: bytes | None = self._one(alive, kind, key, self._wall())
        return value

    def all(self, kind: str) -> list[tuple[str, bytes]]:
        """Every entry of a kind that is alive."""
        alive = "SELECT key, value FROM entries WHERE kind = ? AND expires_at > ? ORDER BY key"
        return self._sql.execute(alive, (kind, self._wall())).fetchall()

    def delete(self, kind: str, key: str) -> None:
        """Removes an entry, and the events that it was the last to hold."""
        self._remove("DELETE FROM entries WHERE kind = ? AND key = ? RETURNING key, length(value)", kind, key)

    def delete_under(self, key: str) -> None:
        """Removes what has this key before a dot. (In the order of characters, a slash comes after a dot.)"""
        below = "DELETE FROM entries WHERE key > ? AND key < ? RETURNING key, length(value)"
        self._remove(below, f"{key}.", f"{key}/")

    def append(self, key: str, seq: int, event: bytes) -> None:
        """Adds an event where its key has an entry. Raises Fault when there is no room."""
        now = self._wall()
        if self._crowded(len(event)):
            self.sweep(now)
        if self._one("SELECT 1 FROM entries WHERE key = ? AND expires_at > ?", key, now):
            before = self._one("SELECT length(event) FROM events WHERE key = ? AND seq = ?", key, seq)
            self._weigh(len(event), before)
            self._sql.execute("INSERT OR REPLACE INTO events VALUES (?, ?, ?)", (key, seq, event))

    def read(self, key: str, after: int) -> list[tuple[int, bytes]]:
        """The events of a key that is alive."""
        if not self._one("SELECT 1 FROM entries WHERE key = ? AND expires_at > ?", key, self._wall()):
            return []
        later = "SELECT seq, event FROM events WHERE key = ? AND seq > ? ORDER BY seq"
        return self._sql.execute(later, (key, after)).fetchall()

    def sweep(self, now: float) -> None:
        """Removes what has expired."""
        self._remove("DELETE FROM entries WHERE expires_at <= ? RETURNING key, length(value)", now)

    # What runs them.

    def run(self, jobs: Sequence[Job]) -> list[Any]:
        """Runs jobs in one transaction; for each its result, or the Fault that it ended with. They are durable then.

        Raises Fault when the file fails: nothing of any job is kept then.
        """
        before = (self._count, self._bytes)
        try:
            self._sql.execute("BEGIN")
            results = [self._result(job) for job in jobs]
            self._sql.execute("COMMIT")
        except sqlite3.Error as error:
            self._count, self._bytes = before
            raise self._failed(error) from error
        return results

    def _failed(self, error: sqlite3.Error) -> Fault:
        """Gives a batch up; begins a new file where this one has turned out to be damaged."""
        log.error("the store failed", file=str(self._path), error=str(error))
        if _is_damage(error):
            self._sql.close()
            self._sql = self._opened()
        elif self._sql.in_transaction:
            self._sql.execute("ROLLBACK")
        if _code(error) == sqlite3.SQLITE_FULL:
            words = f"The disk is full on which the pooler keeps {self._path.name}. Try again when somebody made room."
            return Fault(Reason.STORE_FULL, words, {"retry_after_ms": str(FULL_RETRY_MS)})
        return Fault(Reason.INTERNAL, f"The pooler's store {self._path.name} failed; its log says how.")

    def close(self) -> None:
        """Leaves one sound file behind."""
        self._sql.close()

    def _result(self, job: Job) -> Any:
        try:
            return job(self)
        except Fault as fault:
            return fault

    def _one(self, statement: str, *values: Any) -> Any:
        row = self._sql.execute(statement, values).fetchone()
        return row[0] if row else None

    def _remove(self, statement: str, *values: Any) -> None:
        for key, size in self._sql.execute(statement, values).fetchall():
            self._forget(size)
            if not self._one("SELECT 1 FROM entries WHERE key = ?", key):
                gone = self._sql.execute("DELETE FROM events WHERE key = ? RETURNING length(event)", (key,)).fetchall()
                for (event_size,) in gone:
                    self._forget(event_size)

    def _crowded(self, size: int) -> bool:
        """Whether something of this size may find no room beside all there is, expired or not."""
        bounds = self._bounds
        return self._count >= bounds.count_max or self._bytes + ENTRY_BYTES + size > bounds.bytes_max

    def _weigh(self, size: int, replaced: int | None) -> None:
        """Counts what is about to be kept. Raises Fault when there is no room for it, and has counted nothing then."""
        count = self._count + (replaced is None)
        total = self._bytes + size + (ENTRY_BYTES if replaced is None else -replaced)
        if count > self._bounds.count_max or total > self._bounds.bytes_max:
            raise full(self._bounds, self._count, self._bytes)
        self._count, self._bytes = count, total

    def _forget(self, size: int) -> None:
        self._count -= 1
        self._bytes -= ENTRY_BYTES + size

    # Opening it.

    def _opened(self) -> sqlite3.Connection:
        try:
            return self._connected()
        except _Unreadable as unreadable:
            aside = self._path.with_name(f"{self._path.name}.damaged")
            log.warning(
                "the store cannot be read: it is set aside, and a new one begun",
                file=str(self._path),
                reason=str(unreadable),
                aside=str(aside),
            )
            for end in _BESIDE:  # first: what they hold must not be taken for the new file's
                self._path.with_name(self._path.name + end).unlink(missing_ok=True)
            self._path.replace(aside)
            return self._connected()

    def _connected(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600))  # sqlite3 would let others read it
        sql = sqlite3.connect(self._path, isolation_level=None)
        try:
            for pragma in _PRAGMAS:
                sql.execute(f"PRAGMA {pragma}")
            _prepare(sql)
            kept = "SELECT count(*), total(length({})) FROM {}"
            weights = [
                sql.execute(kept.format(*each)).fetchone() for each in (("value", "entries"), ("event", "events"))
            ]
        except sqlite3.DatabaseError as error:
            sql.close()
            if _is_damage(error):
                raise _Unreadable(str(error)) from error
            raise
        except _Unreadable:
            sql.close()
            raise
        self._count = sum(count for count, _ in weights)
        self._bytes = sum(int(size) for _, size in weights) + self._count * ENTRY_BYTES
        return sql


def _prepare(sql: sqlite3.Connection) -> None:
    """Makes the tables of a new file, looks an old one through."""
    (version,) = sql.execute("PRAGMA user_version").fetchone()
    if version == 0 and not sql.execute("SELECT 1 FROM sqlite_schema").fetchone():
        sql.executescript(_SCHEMA)
    elif version != VERSION:
        raise _Unreadable(f"its schema is version {version}, and this program's is {VERSION}")
    elif (found := sql.execute("PRAGMA quick_check(1)").fetchone()[0]) != _SOUND:
        raise _Unreadable(found)


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary code; what follows it in the upper bits only says where."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_damage(error: sqlite3.Error) -> bool:
    return _code(error) in _DAMAGED
