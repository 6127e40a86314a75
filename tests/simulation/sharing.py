"""Callers whose reads are shared, straight from a pooler's rooms, with a simulated system that counts for a backend.

`get {value}` answers how often a value was put, and `put {value}` puts one more. What a read or a write does, it does
at one moment, between a pause before and one after: so an answer may be old already when it arrives.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson

from pooler.backends.base import Answer, Operation, Verdict, Work
from pooler.backends.simulated.adapter import SimulatedAdapter
from pooler.backends.simulated.connection import SimulatedConnection
from pooler.core.cache import Terms
from pooler.core.slots import Priority
from pooler.errors import Fault, Reason
from pooler.runtime.dispatch import Dispatcher
from pooler.runtime.handles import KEY_BYTES, Sealer
from pooler.runtime.pages import Limits
from pooler.runtime.requests import Request
from pooler.runtime.results import Paging, Results
from pooler.runtime.reuse.reading import Reading, Rule
from pooler.runtime.reuse.room import Answers, Subject
from pooler.runtime.reuse.writing import Writing
from pooler.runtime.routes import Reusing, Route
from pooler.runtime.spool import Place
from pooler.runtime.turns import Outcome
from tests.simulation.reading import at_once
from tests.simulation.rig import Rig

METHODS = {"get": "count", "put": "put", "rows": "rows", "wrong": "wrong"}
"""Operations, by the simulated system's methods."""
TAGS = ("value:{value}",)
ANYTHING = jsonschema_rs.Draft202012Validator({"type": "object"})
PAGE_ROWS = 50


class Paced(SimulatedAdapter):
    """Takes its time before and after each thing that it does, and notes what it was asked."""

    def __init__(self, far_side: Any) -> None:
        super().__init__(far_side)
        self.before: Callable[[], float] = lambda: 0.0
        self.after: Callable[[], float] = lambda: 0.0
        self.stops_after = 0.0
        self.stopped: Callable[[], None] = lambda: None
        """Called when something has been stopped, which takes so long."""
        self.asked: list[str] = []
        """By whom, in order: request ids."""

    async def execute(self, connection: SimulatedConnection, work: Work) -> Answer:
        self.asked.append(work.caller.request_id)
        await asyncio.sleep(self.before())
        answer = await super().execute(connection, work)
        await asyncio.sleep(self.after())
        return answer

    async def cancel(self, connection: SimulatedConnection) -> Verdict:
        await asyncio.sleep(self.stops_after)
        self.stopped()
        return await super().cancel(connection)


class Asked:
    """One call, and what was heard of it."""

    def __init__(self, value: str) -> None:
        self.value = value
        self.asked_at = asyncio.get_running_loop().time()
        self.told_at = 0.0
        self.heard: Callable[[Outcome], None] = lambda outcome: None
        """Told in the same moment as the caller."""
        self.outcomes: list[Outcome] = []
        self.leave: Callable[[], None] = lambda: None
        self._done = asyncio.Event()

    def deliver(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.told_at = asyncio.get_running_loop().time()
        self.heard(outcome)
        self._done.set()

    async def outcome(self) -> Outcome:
        """What it ended with. Nothing else may have been heard before."""
        await self._done.wait()
        (outcome,) = self.outcomes
        return outcome

    async def body(self) -> Any:
        """Its answer, decoded. Raises Fault."""
        result = (await self.outcome()).result
        if isinstance(result, Fault):
            raise result
        return orjson.loads(result.body)

    async def count(self) -> int:
        """What `get` answered."""
        return int((await self.body())["result"])

    async def reason(self) -> Reason:
        result = (await self.outcome()).result
        assert isinstance(result, Fault), result
        return result.reason

    @property
    def state(self) -> str:
        """How much of its answer is somebody else's."""
        (outcome,) = self.outcomes
        return outcome.reuse.state if outcome.reuse is not None else "alone"


class Sharing:
    """A pool whose reads are shared by these terms."""

    def __init__(
        self,
        terms: Terms | None = None,
        rules: Mapping[str, Any] | None = None,
        folder: Path | None = None,
        bytes_max: int = 1 << 20,
        **rule: Any,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.rig = Rig({"cap": 2, **(rules or {})})
        self.adapter = self.rig.stand_in(Paced)
        self.system = self.rig.system
        self.driver = self.rig.driver
        kinds = {name: "write" if name == "put" else "read" for name in METHODS}
        operations = {
            name: Operation(name, kinds[name], method=method, page_rows=PAGE_ROWS)  # type: ignore[arg-type]
            for name, method in METHODS.items()
        }
        self.driver.kit = replace(
            self.driver.kit, prepared={name: self.adapter.prepare(each) for name, each in operations.items()}
        )
        self.answers = Answers(bytes_max, clock=loop.time)
        results = Results(
            Sealer("sim", [bytes(KEY_BYTES)], loop.time),
            Place(folder or Path(), at_once),
            Limits(),
            loop.time,
            clock=loop.time,
        )
        self.dispatcher = Dispatcher(100_000, clock=loop.time, results=results)
        self.install(terms or Terms(30.0), **rule)
        self.numbers = 0

    def install(self, terms: Terms, **rule: Any) -> None:
        """Another configuration."""
        rules = {
            "get": Rule(terms, **{"tags": TAGS, **rule}),
            "rows": Rule(terms, **{**rule, "tags": ()}),
            "wrong": Rule(terms, **{**rule, "tags": ()}),
        }
        subjects = {name: Subject(self.driver, each) for name, each in rules.items()}
        reuse: dict[str, Reusing] = dict(self.answers.install(subjects))
        reuse["put"] = Writing(self.answers, self.driver, TAGS)
        self.dispatcher.routes = {name: self._route(name, reuse[name]) for name in METHODS}

    def _route(self, name: str, reuse: Reusing) -> Route:
        return Route(
            name=name,
            driver=self.driver,
            read=name != "put",
            whole=False,
            timeout_seconds=60.0,
            queue_timeout_seconds=600.0,
            validator=ANYTHING,
            paging=Paging(name, PAGE_ROWS, 100_000) if name == "rows" else None,
            reuse=reuse,
        )

    def reading(self, name: str = "get") -> Reading:
        return self.answers.readings[name]

    @property
    def now(self) -> float:
        return self.rig.now

    @property
    def executed(self) -> int:
        """How often the backend was asked."""
        return len(self.adapter.asked)

    def send(
        self,
        operation: str = "get",
        value: str = "x",
        *,
        timeout: float = 3600.0,
        tenant: str = "default",
        principal: str = "ann",
        priority: Priority = Priority.INTERACTIVE,
        **arguments: Any,
    ) -> Asked:
        """A call, of which something will be heard."""
        asked = Asked(value)
        self.numbers += 1
        given = {"value": value, **arguments} if operation != "rows" else arguments
        request = Request(
            operation, orjson.dumps(given), timeout, tenant, principal, priority, request_id=str(self.numbers)
        )
        asked.leave = self.dispatcher.submit(request, asked.deliver)
        return asked

    async def get(self, value: str = "x", **who: Any) -> int:
        """Reads, and waits for the answer."""
        return await self.send("get", value, **who).count()

    async def put(self, value: str = "x", **who: Any) -> None:
        """Writes, and waits until that is acknowledged."""
        await self.send("put", value, **who).body()

    async def begun(self, count: int = 1) -> None:
        """Waits until the backend was asked so often."""
        while self.executed < count:  # noqa: ASYNC110 - the adapter tells nobody
            await asyncio.sleep(0.001)
