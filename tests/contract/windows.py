"""A reader of large results, as patient and as hungry as a test needs it, and an ear for news."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson

from pooler.backends import values
from pooler.backends.base import BackendError, Failure, FailureKind


class Reader:
    """Keeps all rows as the caller will see them. Wants `rows_max` of them, and waits for `go` before each batch."""

    def __init__(self, batch_rows: int = 10, rows_max: int | None = None, patient: bool = False) -> None:
        self.batch_rows = batch_rows
        self.columns: list[str] | None = None
        self.rows: list[Any] = []
        self.more: bool | None = None
        """What `close` was told; None: it has not been called."""
        self.batches: list[int] = []
        """How many rows came at once."""
        self.waits = asyncio.Event()
        """Set when the backend's side has asked for room."""
        self.go = asyncio.Event()
        self.row_bytes_max = 2_000
        """On average: a batch of longer ones is refused."""
        self._rows_max = rows_max
        if not patient:
            self.go.set()

    def open(self, columns: Sequence[str]) -> None:
        self.columns, self.rows, self.batches = list(columns), [], []

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        assert self.columns is not None, "rows came before their columns"
        assert all(len(row) == len(self.columns) for row in rows)
        written = values.encode(rows)
        if len(written) > self.row_bytes_max * len(rows):
            raise BackendError(Failure(FailureKind.TOO_LARGE, "a row is too long for the reader"))
        self.rows += orjson.loads(written)
        self.batches.append(len(rows))

    async def room(self) -> bool:
        self.waits.set()
        await self.go.wait()
        return self._rows_max is None or len(self.rows) < self._rows_max

    def close(self, more: bool = False) -> bytes:
        assert self.more is None, "closed twice"
        self.more = more
        return orjson.dumps({"columns": self.columns, "rows": self.rows})


class Listener:
    """Keeps what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def progress(self, progress: float, total: float | None = None, message: str = "") -> None:
        self.told.append(("progress", progress, total, message))

    def log(self, level: str, data: Any, logger: str = "") -> None:
        self.told.append(("log", level, data))
