"""Short ways to ask a SQL adapter something on one open connection."""

from typing import Any

import orjson
import pytest

from pooler.backends.base import Adapter, FailureKind, Operation, Window, Work
from tests.contract.subject import CALLER


class Session:
    """An adapter with one open connection, and short ways to use them."""

    def __init__(self, adapter: Adapter[Any, Any], connection: Any) -> None:
        self.adapter = adapter
        self.connection = connection

    async def ask(self, statement: str, effect: Any = "read", page_rows: int = 200, **arguments: Any) -> dict[str, Any]:
        operation = Operation("ask", effect, {key: {} for key in arguments}, statement, page_rows=page_rows)
        work = Work(self.adapter.prepare(operation), arguments, CALLER, timeout_seconds=30)
        body: dict[str, Any] = orjson.loads((await self.adapter.execute(self.connection, work)).body)
        return body

    async def part(self, statement: str, effect: Any = "read", **arguments: Any) -> dict[str, Any]:
        """The same as a part of the transaction that is open on the connection."""
        operation = Operation("part", effect, {key: {} for key in arguments}, statement)
        work = Work(self.adapter.prepare(operation), arguments, CALLER, 30, in_transaction=True)
        body: dict[str, Any] = orjson.loads((await self.adapter.execute(self.connection, work)).body)
        return body

    async def failed_part(self, statement: str, effect: Any = "read") -> tuple[FailureKind, str]:
        """How one fails, and what has become of the transaction."""
        with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever classify understands
            await self.part(statement, effect)
        return self.adapter.classify(raised.value).kind, self.connection.transaction

    async def read(self, statement: str, window: Window) -> bytes:
        """All rows, through a window."""
        work = Work(self.adapter.prepare(Operation("read", "read", {}, statement)), {}, CALLER, 30, window)
        return (await self.adapter.execute(self.connection, work)).body

    async def value(self, statement: str, **arguments: Any) -> Any:
        return (await self.ask(statement, **arguments))["rows"][0][0]

    async def write(self, statement: str, **arguments: Any) -> dict[str, Any]:
        return await self.ask(statement, effect="write", **arguments)

    async def failure(self, statement: str, effect: Any = "read", **arguments: Any) -> tuple[FailureKind, str]:
        with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever classify understands
            await self.ask(statement, effect=effect, **arguments)
        failure = self.adapter.classify(raised.value)
        return failure.kind, failure.message
