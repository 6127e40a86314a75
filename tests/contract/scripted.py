"""Workers for one test each: a few lines of Python that misbehave in exactly one way."""

import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from pooler.backends.base import Answer, Caller, Connection, FailureKind, Operation, Tag, Work
from pooler.backends.process.adapter import ProcessAdapter, build
from pooler.backends.process.connection import WorkerConnection
from pooler.backends.process.settings import Settings

PRELUDE = """
import json, os, signal, subprocess, sys, time

def read():
    line = sys.stdin.readline()
    return json.loads(line) if line else None

def write(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)

def answer(request, result):
    write(id=request["id"], result=result)

def log_in(**declared):
    answer(read(), declared)

def serve():
    while request := read():
        if "id" in request:
            answer(request, request["params"])
        if request["method"] == "close":
            break
"""
CALLER = Caller("acme", "ann", "req-1", "00-" + "a" * 32 + "-" + "b" * 16 + "-01")
TAG = Tag("scripted", "loans", 1)


class Scripted:
    """An adapter for one script."""

    def __init__(self, folder: Path, body: str, **keys: Any) -> None:
        script = folder / "worker.py"
        script.write_text(PRELUDE + textwrap.dedent(body))
        self.adapter: ProcessAdapter = build(
            Settings.model_validate({"command": [sys.executable, str(script)], "close_seconds": 0.3, **keys})
        )

    async def open(self) -> WorkerConnection:
        return await self.adapter.open(TAG)

    async def ask(
        self, connection: Connection, method: str = "ask", page_bytes: int = 1 << 20, **arguments: Any
    ) -> bytes:
        return (await self.work(connection, method, page_bytes, arguments)).body

    async def work(
        self,
        connection: Connection,
        method: str = "ask",
        page_bytes: int = 1 << 20,
        arguments: Mapping[str, Any] = MappingProxyType({}),
        **extras: Any,
    ) -> Answer:
        assert isinstance(connection, WorkerConnection)
        prepared = self.adapter.prepare(Operation(method, "read", method=method, page_bytes=page_bytes))
        return await self.adapter.execute(connection, Work(prepared, arguments, CALLER, 30, **extras))


async def failure_of(scripted: Scripted, work: Any) -> tuple[FailureKind, str]:
    """How the adapter classifies what some work raises."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - the adapter's classify is what is asked
        await work
    failure = scripted.adapter.classify(raised.value)
    return failure.kind, failure.message


def lives(pid: int) -> bool:
    """Whether there is such a process at all, a zombie included."""
    return Path(f"/proc/{pid}").exists()
