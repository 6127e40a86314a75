"""Runs on a pool under virtual time, in front of a simulated system; and followers who note what they hear.

Everything between a request and the backend is what production has: dispatcher, dialogue, driver. Nothing here steers.
"""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import orjson

from pooler.backends.base import Input, Operation
from pooler.backends.simulated.adapter import SimulatedAdapter
from pooler.backends.simulated.settings import Settings
from pooler.backends.simulated.system import State, System
from pooler.core.rules import Rules
from pooler.runtime.dialogue import Dialogue
from pooler.runtime.dispatch import Dispatcher
from pooler.runtime.driver import Driver
from pooler.runtime.handles import Sealer
from pooler.runtime.requests import Request
from pooler.runtime.routes import Route
from pooler.runtime.runs import RunBounds, Runs
from pooler.runtime.runs.happenings import Done, Event, Happening
from pooler.runtime.runs.live import LiveRun
from pooler.runtime.runs.run import Run
from pooler.runtime.starter import Bounds
from pooler.runtime.store.base import Store
from pooler.runtime.turns import Kit
from tests.simulation.rig import until

METHODS = {"work": "work", "report": "report", "ask": "ask", "write": "work", "erase": "work", "put": "put"}
"""Operations, by the simulated system's methods."""
CONFIRM = {"erase": "Erase {value}?"}
WRITES = ("write", "erase", "put")
CAPABILITIES = b'{"elicitation":{}}'


class Scene:
    """A pool, its system, and the runs before them."""

    def __init__(
        self,
        rules: Mapping[str, Any] | None = None,
        bounds: RunBounds | None = None,
        store: Store | None = None,
        seed: int = 0,
        adapter_class: type[SimulatedAdapter] = SimulatedAdapter,
        **manners: Any,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.system = System(Settings(seed=seed, **manners))
        adapter = adapter_class(self.system)
        operations = {
            name: Operation(name, "write" if name in WRITES else "read", method=method)
            for name, method in METHODS.items()
        }
        kit = Kit("simulated", adapter, {name: adapter.prepare(each) for name, each in operations.items()})
        self.driver = Driver(
            "legacy",
            kit,
            Rules(**{"cap": 2, **(rules or {})}),
            Bounds(),
            "sim",
            clock=loop.time,
            randomness=random.Random(seed),
        )
        self.dispatcher = Dispatcher(10_000, self._routes(), clock=loop.time)
        self.sealer = Sealer("sim", [bytes(32)], loop.time)
        self.dispatcher.dialogue = Dialogue(self.sealer, loop.time)
        self.runs = Runs(self.dispatcher, self.sealer, loop.time, bounds, store)

    def _routes(self) -> dict[str, Route]:
        anything = jsonschema_rs.Draft202012Validator({"type": "object"})
        return {
            name: Route(
                name=name,
                driver=self.driver,
                read=name not in WRITES,
                whole=False,
                timeout_seconds=100_000,
                queue_timeout_seconds=100_000,
                validator=anything,
                confirm=CONFIRM.get(name, ""),
            )
            for name in METHODS
        }

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def busy(self) -> int:
        """How many sessions are at work, by the system's own count."""
        return sum(session.state is State.BUSY for session in self.system.sessions)

    async def start(
        self, operation: str = "work", timeout: float = 10_000, tenant: str = "default", **given: Any
    ) -> LiveRun:
        """Begins a run; capitals name what is no argument: `GRACE`, `AWAIT`, `KEEP`."""
        request = Request(
            operation,
            orjson.dumps({key: value for key, value in given.items() if key.islower()}),
            timeout,
            tenant=tenant,
            input=Input(CAPABILITIES),
        )
        return await self.runs.start(
            request,
            detach_grace_seconds=given.get("GRACE", 0.0),
            await_input=given.get("AWAIT", False),
            keep_seconds=given.get("KEEP"),
            note=given.get("NOTE", b""),
        )

    async def at_rest(self) -> None:
        """Waits until the system works on nothing, and then shows that the whole cap can still be taken."""
        await until(lambda: self.busy() == 0)
        places = self.driver.pool.rules.places
        whole = [await self.start("work", seconds=500, GRACE=None) for _ in range(places)]
        await until(lambda: self.busy() == places)
        for run in whole:
            run.cancel()
        await until(lambda: self.busy() == 0)


class Ear:
    """One who follows a run, perhaps in several goes."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.heard: list[tuple[float, Event]] = []
        self._task: asyncio.Task[None] | None = None
        self.listen()

    @property
    def events(self) -> list[Happening]:
        return [event.what for _, event in self.heard]

    @property
    def numbers(self) -> list[int]:
        return [event.seq for _, event in self.heard]

    @property
    def done(self) -> Done | None:
        return next((what for what in self.events if isinstance(what, Done)), None)

    def listen(self) -> None:
        """Follows from after what it has heard."""
        follower = self.run.follow(self.numbers[-1] if self.heard else 0)

        async def hear() -> None:
            async for event in follower:
                self.heard.append((asyncio.get_running_loop().time(), event))

        self._task = asyncio.get_running_loop().create_task(hear())
        self._task.add_done_callback(lambda _: follower.leave())

    def go(self) -> None:
        """Follows no more, as when a stream breaks."""
        assert self._task is not None
        self._task.cancel()

    async def leave(self) -> None:
        """The same, and waits until that has been noticed."""
        assert self._task is not None
        self.go()
        await asyncio.wait({self._task})

    async def end(self) -> Done:
        """Listens to the end."""
        assert self._task is not None
        await self._task
        assert self.done is not None
        return self.done
