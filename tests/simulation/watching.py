"""A rig whose resources are watched, and watchers who note what they hear and when."""

import asyncio
from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import orjson

from pooler.backends.base import Caller
from pooler.backends.simulated.adapter import SimulatedAdapter
from pooler.runtime.conversations.record import Target
from pooler.runtime.routes import Route
from pooler.runtime.watches.room import Rule, Watches
from pooler.runtime.watches.watcher import Watch
from tests.simulation.rig import Rig

ORDERS = "orders"
"""A channel."""
BY_CHANNEL = {"count": Rule(channel=ORDERS, argument="value")}
EVERY_SECONDS = 30.0
BY_ASKING = {"count": Rule(every_seconds=EVERY_SECONDS)}


class Watcher:
    """Somebody who watches; reads at once whatever there is, until told to pause."""

    def __init__(self, watch: Watch, rig: Rig) -> None:
        self.watch = watch
        self.heard: list[str] = []
        self.at: list[float] = []
        """When each of them was heard."""
        self._rig = rig
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        async for uri in self.watch:
            self.heard.append(uri)
            self.at.append(self._rig.now)

    def stop_reading(self) -> None:
        self._reading.cancel()

    def go_on_reading(self) -> None:
        self._reading = asyncio.ensure_future(self._read())

    def leave(self) -> None:
        self.watch.close()


class Watching:
    """A rig, and the room that watches its resources. The resource is `count {value}`, its URI the value."""

    def __init__(
        self,
        how: Mapping[str, Rule],
        rules: Mapping[str, Any] | None = None,
        watches_max: int = 10_000,
        rig: Rig | None = None,
        **manners: Any,
    ) -> None:
        """`rig`: one that there is already."""
        self.rig = rig or Rig(rules, **manners)
        if rig is None:
            self.rig.stand_in(SimulatedAdapter)  # a poll is none of the calls that the rig's own adapter knows
        self.system = self.rig.system
        self.watches = Watches(watches_max, jitter=lambda: 0.5)
        self.install(how)

    def install(self, how: Mapping[str, Rule]) -> None:
        routes = {
            name: Route(
                name=name,
                driver=self.rig.driver,
                read=True,
                whole=False,
                timeout_seconds=5.0,
                queue_timeout_seconds=10.0,
                validator=jsonschema_rs.Draft202012Validator({"type": "object"}),
            )
            for name in ("count", "see_trace")
        }
        self.watches.install(routes, how)

    def watch(
        self, *values: str, tenant: str = "default", principal: str = "somebody", operation: str = "count"
    ) -> Watcher:
        """Somebody watches the resources of these values; of an operation that takes none, its only one."""
        targets = [Target(value, operation, orjson.dumps({"value": value})) for value in values or (operation,)]
        return Watcher(self.watches.open(targets, Caller(tenant, principal, "watch")), self.rig)

    def put(self, value: str) -> None:
        """Changes what the resource of this value answers."""
        self.system.ledger.kept.append(value)

    def say(self, payload: str = "") -> None:
        self.system.channels.say(ORDERS, payload)

    @property
    def listening(self) -> list[int]:
        """The sessions that listen and have not been closed."""
        told = self.system.channels.listening
        return [session.number for session in self.system.sessions if session.number in told and not session.left]

    def kill_listener(self) -> None:
        (number,) = self.listening
        self.system.kill(next(session for session in self.system.sessions if session.number == number))
