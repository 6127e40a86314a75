"""What a kind of backend must offer to the contract suite: a few operations, and an eye on the backend's own side.

The observers (`connections`, `busy`) ask the backend and never the adapter: they are the oracle.
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import orjson

from pooler.backends.base import Adapter, Caller, Connection, Operation, Tag, Work

CALLER = Caller(tenant="acme", principal="ann", request_id="contract-1")
PAGE_ROWS = 20
PAGE_BYTES = 4_096


class Subject(ABC):
    """One adapter with a real backend behind it, alone in using it.

    `operations` has these names and arguments, each with `page_rows=PAGE_ROWS, page_bytes=PAGE_BYTES`:
    `echo {value: string}` and `see_trace {}` answer one value, `rows {count: integer}` a table of that many rows,
    `slow {seconds: number}` works so long, `wrong {}` is refused by the backend, `write {}` changes something,
    `leave_trace {value: string}` leaves a value on the connection that `see_trace` finds (null when there is none),
    `rows_until {count, fail_at: integer}` has the backend fail in the midst of its rows, and `rows_too_long {count,
    long_at: integer}` has a row of 100,000 characters there. Where there are transactions, `put {value: string}` keeps
    a value and `count {value: string}` tells how often it was. A kind that `tells` has `report {steps: integer}`.
    """

    adapter: Adapter[Any, Any]
    dies_at_work: bool = True
    """Whether the backend's side can end in the middle of a request; a file that is read in our own process cannot."""
    tells: bool = False
    """Whether the backend says of its work how far it is."""
    listens: bool = False
    """Whether the backend has channels on which it tells of changes."""
    secret: str = ""
    """A text in the settings of `unreachable` that no message may show; empty where there is none to hide."""

    @abstractmethod
    def operations(self) -> Sequence[Operation]:
        """The operations above, in this backend's own words."""

    @abstractmethod
    async def connections(self) -> int:
        """How many connections of ours the backend has, in whatever state, by its own count."""

    @abstractmethod
    async def busy(self) -> int:
        """How many of them do `slow` work at this moment, by the backend's own count."""

    @abstractmethod
    async def kill(self, connection: Connection) -> None:
        """Ends a connection on the backend's side, as an administrator or a crash would; returns when it is done."""

    def unreachable(self) -> Adapter[Any, Any] | None:
        """An adapter whose `open` fails and whose settings hold `secret`; None where there is no such thing."""
        return None

    async def say(self, channel: str, payload: str) -> None:
        """Says something on one of the backend's channels, from its own side. Only where it `listens`."""
        raise NotImplementedError

    def limited(self) -> tuple[Adapter[Any, Any], int] | None:
        """An adapter whose backend allows only so many connections; None where nothing limits them."""
        return None

    def single(self, body: dict[str, Any]) -> Any:
        """The one value in the answer of `echo` or `see_trace`: in the first cell of a table, or `result`."""
        return body["rows"][0][0] if "rows" in body else body["result"]

    # What the suite does with it.

    def work(self, name: str, **arguments: Any) -> Work:
        """An invocation of one of the operations."""
        operation = next(operation for operation in self.operations() if operation.name == name)
        return Work(self.adapter.prepare(operation), arguments, CALLER, timeout_seconds=30)

    async def run(self, connection: Connection, name: str, **arguments: Any) -> dict[str, Any]:
        """Executes an operation and decodes its answer, which must be an object."""
        answer = await self.adapter.execute(connection, self.work(name, **arguments))
        body = orjson.loads(answer.body)
        assert isinstance(body, dict)
        return body

    @contextlib.asynccontextmanager
    async def opened(self, slot: int = 1) -> AsyncIterator[Connection]:
        """A connection that is ended by force afterwards."""
        connection = await self.adapter.open(Tag("contract", "subject", slot))
        try:
            yield connection
        finally:
            await self.adapter.close(connection, force=True)


async def eventually(
    expected: int, observe: Callable[[], Awaitable[int]], what: str = "the backend's count", seconds: float = 10
) -> None:
    """Waits until an observer sees the expected number; fails with what it saw last."""
    seen = None
    try:
        async with asyncio.timeout(seconds):
            while (seen := await observe()) != expected:  # noqa: ASYNC110 - a foreign process tells no event
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{what} is {seen} after {seconds:g} s, expected {expected}") from None
