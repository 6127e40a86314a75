"""Callers who read results page by page, straight from a pooler's rooms, with a simulated system for a backend."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson

from pooler.backends.base import Operation
from pooler.backends.simulated.adapter import SimulatedAdapter
from pooler.errors import Fault
from pooler.runtime.dispatch import Dispatcher
from pooler.runtime.handles import KEY_BYTES, Sealer
from pooler.runtime.pages import Limits
from pooler.runtime.requests import Request
from pooler.runtime.results import CURSOR, Paging, Results
from pooler.runtime.routes import Route
from pooler.runtime.spool import Place
from pooler.runtime.turns import Outcome
from tests.simulation.rig import Rig

Table = dict[str, Any]


async def at_once(work: Callable[[], Any]) -> Any:
    """Instead of a thread, of which virtual time knows nothing."""
    return work()


class Reading:
    """A pool whose one operation has many pages: `rows {count, seconds, fail_at, die_at}`, so many seconds a batch."""

    def __init__(
        self,
        folder: Path,
        limits: Limits | None = None,
        *,
        page_rows: int = 50,
        page_bytes: int = 4096,
        timeout: float = 3600.0,
        **rules: Any,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.rig = Rig({"cap": 1, **rules})
        adapter = self.rig.stand_in(SimulatedAdapter)
        operation = Operation("rows", "read", method="rows", page_rows=page_rows, page_bytes=page_bytes)
        self.rig.driver.kit = replace(self.rig.driver.kit, prepared={"rows": adapter.prepare(operation)})
        sealer = Sealer("sim", [bytes(KEY_BYTES)], loop.time)
        self.results = Results(sealer, Place(folder, at_once), limits or Limits(), loop.time, clock=loop.time)
        route = Route(
            "rows",
            self.rig.driver,
            read=True,
            whole=False,
            timeout_seconds=timeout,
            queue_timeout_seconds=3600.0,
            validator=jsonschema_rs.Draft202012Validator({}),
            paging=Paging("rows", page_rows, page_bytes),
        )
        self.dispatcher = Dispatcher(1000, {"rows": route}, clock=loop.time, results=self.results)

    def used(self, tenant: str = "default") -> int:
        """How many bytes the pooler keeps for a tenant, by its own account."""
        account = self.results._accounts.get(tenant)
        return account.used if account else 0

    def begin(
        self, *, tenant: str = "default", principal: str = "ann", timeout: float = 600.0, **arguments: Any
    ) -> "Asked":
        """A call, of which something will be heard."""
        asked = Asked()
        request = Request("rows", orjson.dumps(arguments), timeout, tenant=tenant, principal=principal)
        asked.leave = self.dispatcher.submit(request, asked.deliver)
        return asked

    async def page(self, **arguments: Any) -> Table:
        """A page. Raises Fault."""
        return await self.begin(**arguments).table()

    async def rest(self, table: Table, pause: float = 0.0, **arguments: Any) -> list[Table]:
        """This page and all behind it, after a pause for each. Raises Fault."""
        tables = [table]
        while handle := tables[-1].get("next_cursor"):
            await asyncio.sleep(pause)
            tables.append(await self.page(**{CURSOR: handle}, **arguments))
        return tables


class Asked:
    """A call under way."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.leave: Callable[[], None] = lambda: None

    def deliver(self, outcome: Outcome) -> None:
        """Takes the outcome; a second one raises."""
        self.outcome.set_result(outcome)

    async def table(self) -> Table:
        """The table that it is answered with. Raises Fault."""
        result = (await self.outcome).result
        if isinstance(result, Fault):
            raise result
        table: Table = orjson.loads(result.body)
        return table


def numbers(tables: list[Table]) -> list[int]:
    """The first column of all of them."""
    return [row[0] for table in tables for row in table["rows"]]
