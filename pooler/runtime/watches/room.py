"""Who watches what: takes watchers in, gives all who want the same one source, and moves them when a reload changes it.

A source lasts as long as anybody wants it. What a watcher may watch, and how, is the configuration's to say. It starts
no connection and reads no resource by itself: `listening` and `polling` do.
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import structlog

from pooler.backends.base import Caller
from pooler.core.slots import Priority
from pooler.errors import Fault, Reason
from pooler.runtime.conversations.record import Target
from pooler.runtime.driver import Driver
from pooler.runtime.routes import Route
from pooler.runtime.turns import Outcome, Turn
from pooler.runtime.watches.listening import Channel, Listening
from pooler.runtime.watches.polling import Poll
from pooler.runtime.watches.source import Interest, Source
from pooler.runtime.watches.watcher import Watch

log = structlog.get_logger(__name__)

RETRY_SECONDS = 10
"""When somebody who found no room may try again."""


class Rule(NamedTuple):
    """How an operation is watched: on a channel of its backend, or else by asking."""

    channel: str = ""
    argument: str = ""
    """The argument that a payload names; empty: whatever is said on the channel is meant."""
    every_seconds: float = 0.0


class Watches:
    """Every watcher of a pooler. `install` it before the first one comes; `close` it at the end."""

    def __init__(self, watches_max: int, jitter: Callable[[], float] = random.random) -> None:
        """`watches_max`: how many resources may be watched at once, each counted for each of its watchers.

        `jitter` returns numbers from 0 to 1, by which pauses differ.
        """
        self.watches_max = watches_max
        self._jitter = jitter
        self._routes: Mapping[str, Route] = {}
        self._rules: Mapping[str, Rule] = {}
        self._watches: dict[Watch, None] = {}
        self._watched = 0
        self._sources: dict[object, Source] = {}
        self._listenings: dict[Driver, Listening] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        """How many resources are watched, each counted for each of its watchers."""
        return self._watched

    @property
    def sources(self) -> int:
        """How many different things that are."""
        return len(self._sources)

    def install(self, routes: Mapping[str, Route], rules: Mapping[str, Rule]) -> None:
        """Another configuration. Whoever watched something that is watched otherwise now, or no more, is told once."""
        self._routes, self._rules = routes, rules
        for watch in self._watches:
            for interest, target in watch.interests.items():
                self._move(interest, target, watch.caller)
        drivers = {route.driver for route in routes.values()}
        self._listenings = {driver: each for driver, each in self._listenings.items() if driver in drivers}

    def check(self, targets: Sequence[Target], caller: Caller) -> None:
        """Raises Fault when one of them cannot be watched. Begins nothing."""
        for target in targets:
            self._source(target, caller)

    def open(self, targets: Sequence[Target], caller: Caller) -> Watch:
        """A watcher. Raises Fault when one of its targets cannot be watched, or there are too many."""
        if self._closed:
            raise Fault(Reason.DRAINING, "This pooler is being shut down, and watches nothing any more.")
        if len(self) + len(targets) > self.watches_max:
            sentence = f"This pooler watches {len(self)} resources, and may watch {self.watches_max}."
            raise Fault(Reason.STORE_FULL, sentence, {"retry_after_ms": str(RETRY_SECONDS * 1000)})
        self.check(targets, caller)  # all of them or none: nothing has begun yet
        watch = Watch(targets, caller, self._leave)
        self._watches[watch] = None
        self._watched += len(targets)
        for interest, target in watch.interests.items():
            self._attach(interest, self._source(target, caller))
        return watch

    async def watch(self, targets: Sequence[Target], caller: Caller) -> AsyncGenerator[str, None]:
        """The URIs of those that change, until it is closed. Raises Fault for what cannot be watched."""
        watch = self.open(targets, caller)
        try:
            async for uri in watch:
                yield uri
        finally:
            watch.close()

    async def close(self) -> None:
        """Ends every watch, and what was done for them."""
        self._closed = True
        for watch in list(self._watches):
            watch.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # Who is interested in what

    def _leave(self, watch: Watch) -> None:
        del self._watches[watch]
        self._watched -= len(watch.interests)
        for interest in watch.interests:
            self._detach(interest)

    def _move(self, interest: Interest, target: Target, caller: Caller) -> None:
        try:
            source = self._source(target, caller)
        except Fault as fault:
            source = None
            if interest.source is not None:
                log.info("a resource is watched no more", uri=target.uri, reason=fault.reason)
        if source is not interest.source:
            self._detach(interest)
            if source is not None:
                self._attach(interest, source)
            interest.tell()

    def _attach(self, interest: Interest, source: Source) -> None:
        interest.source = source
        source.interests[interest] = None
        if source.key not in self._sources:
            self._sources[source.key] = source
            source.begin()

    def _detach(self, interest: Interest) -> None:
        source, interest.source = interest.source, None
        if source is not None:
            del source.interests[interest]
            if not source.interests:
                del self._sources[source.key]
                source.end()

    # What there is to be interested in

    def _source(self, target: Target, caller: Caller) -> Source:
        """The one that there is, or a new one that has not begun. Raises Fault."""
        route = self._routes.get(target.operation)
        if route is None:
            raise Fault(Reason.OPERATION_NOT_FOUND, f"There is no operation {target.operation!r}.")
        rule = self._rules.get(target.operation)
        if rule is None:
            sentence = f"{target.operation} cannot be watched: its configuration does not say how."
            raise Fault(Reason.INVALID_ARGUMENTS, sentence)
        arguments = route.arguments(target.arguments)
        if rule.channel:
            return self._channel(route.driver, rule, arguments)
        return self._poll(route, rule, arguments, caller)

    def _channel(self, driver: Driver, rule: Rule, arguments: Mapping[str, Any]) -> Source:
        payload = _as_payload(arguments.get(rule.argument)) if rule.argument else None
        key = (driver, rule.channel, payload)
        if key in self._sources:
            return self._sources[key]
        return Channel(key, self.listening(driver), rule.channel, payload)

    def listening(self, driver: Driver) -> Listening:
        """A backend's, for whoever wants to hear of it."""
        if driver not in self._listenings:
            self._listenings[driver] = Listening(driver, self._spawn, self._jitter)
        return self._listenings[driver]

    def _poll(self, route: Route, rule: Rule, arguments: Mapping[str, Any], caller: Caller) -> Source:
        """Shared by those alone who may see the same: an answer may depend on who asks."""
        asked = json.dumps(arguments, sort_keys=True)
        key = (route.driver, route.name, asked, caller.tenant, caller.principal, rule.every_seconds)
        if key in self._sources:
            return self._sources[key]
        read = partial(
            self._read, route.name, arguments, Caller(caller.tenant, caller.principal, f"watch {route.name}")
        )
        return Poll(key, route.name, read, rule.every_seconds, self._spawn, self._jitter)

    async def _read(self, operation: str, arguments: Mapping[str, Any], caller: Caller) -> bytes:
        """The first page of what an operation answers now. Raises Fault."""
        if (route := self._routes.get(operation)) is None:
            raise Fault(Reason.OPERATION_NOT_FOUND, f"There is no operation {operation!r} any more.")
        ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        now = route.driver.now
        turn = Turn(
            asked_at=now,
            give_up_at=now + route.queue_timeout_seconds,
            deadline=now + route.queue_timeout_seconds + route.timeout_seconds,
            tenant=caller.tenant,
            priority=Priority.BATCH,
            operation=route.name,
            whole=route.whole,
            arguments=arguments,
            caller=caller,
            timeout_seconds=route.timeout_seconds,
            deliver=partial(_settle, ended),
        )
        route.driver.submit(turn)
        try:
            outcome = await ended
        except asyncio.CancelledError:
            route.driver.cancel(turn)
            raise
        if isinstance(outcome.result, Fault):
            raise outcome.result
        return outcome.result.body

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._reaped)
        return task

    def _reaped(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a watch failed: a bug", exc_info=error)


def _as_payload(value: Any) -> str:
    """An argument as a trigger would write it: texts as they are, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _settle(ended: "asyncio.Future[Outcome]", outcome: Outcome) -> None:
    if not ended.done():
        ended.set_result(outcome)
