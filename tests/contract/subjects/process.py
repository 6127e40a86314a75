"""A worker that declares all it may: `ping`, `reset` and `cancel`."""

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pooler.backends.base import Adapter, Connection, Operation
from pooler.backends.process.adapter import build
from pooler.backends.process.connection import WorkerConnection
from pooler.backends.process.settings import Settings
from tests.contract import worker
from tests.contract.subject import PAGE_BYTES, PAGE_ROWS, Subject, eventually

METHODS = (
    "echo",
    "rows",
    "rows_until",
    "rows_too_long",
    "report",
    "slow",
    "wrong",
    "write",
    "leave_trace",
    "see_trace",
)
SECRET = "hunter2-of-the-worker"


def settings(folder: Path, *arguments: str, **keys: Any) -> Settings:
    """How to start the worker of this suite."""
    return Settings.model_validate({"command": [sys.executable, worker.__file__, str(folder), *arguments], **keys})


class ProcessSubject(Subject):
    """Worker processes, counted by the locks that they hold."""

    secret = SECRET
    tells = True

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.adapter = build(settings(folder, *arguments))

    def operations(self) -> Sequence[Operation]:
        return [
            Operation(
                name, "write" if name == "write" else "read", method=name, page_rows=PAGE_ROWS, page_bytes=PAGE_BYTES
            )
            for name in METHODS
        ]

    async def connections(self) -> int:
        return worker.held(self.folder, "open-*")

    async def busy(self) -> int:
        return worker.held(self.folder, "busy-*")

    async def kill(self, connection: Connection) -> None:
        assert isinstance(connection, WorkerConnection)
        before = await self.connections()
        os.kill(connection.worker.pid, signal.SIGKILL)
        await eventually(before - 1, self.connections, "workers")
        # Nobody can ask a worker without `ping`; the end of its output is heard in a turn of the loop of its own.
        await eventually(1, partial(_broken, connection), "the connection's own notice")

    def unreachable(self) -> Adapter[Any, Any]:
        script = f"import sys; sys.exit('cannot log in with {SECRET}')"
        return build(
            Settings.model_validate({"command": [sys.executable, "-c", script], "environment": {"KEY": SECRET}})
        )

    def limited(self) -> tuple[Adapter[Any, Any], int]:
        return build(settings(self.folder, "--licences", "2")), 2


@contextlib.asynccontextmanager
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    with tempfile.TemporaryDirectory() as folder:
        yield ProcessSubject(Path(folder), "--declare", "ping,reset,cancel")


async def _broken(connection: WorkerConnection) -> int:
    return connection.broken is not None
