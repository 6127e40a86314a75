"""Where sessions are asked for: one desk for each backend that has any, and one list of all of them, by their handles.

A desk says for each call who carries it out: a session, where the call names one; the connection that is kept for its
caller, where the backend pins its callers; else the pool. It bounds how many sessions there may be. A handle is good
for one process: after a restart it is known for what it was, and what it stood for is told to be gone.
"""

import secrets
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import orjson
import structlog

from pooler.backends.base import Answer, Caller
from pooler.clock import Clock
from pooler.core.sessions import Act, Ending, Limits, Tools, retry_seconds
from pooler.errors import Fault, Reason
from pooler.runtime.driver import Driver
from pooler.runtime.handles import Sealer, expired
from pooler.runtime.holds import tell
from pooler.runtime.pins import Pin, Pins
from pooler.runtime.session_faults import Sentences, restarted
from pooler.runtime.sessions import Session
from pooler.runtime.turns import Turn

log = structlog.get_logger(__name__)

KIND = "session"
ARGUMENT = "session"
"""The argument by which a call names its session."""
BOOT_BYTES = 8
ENDED_MAX = 10_000
"""Of so many sessions it is remembered how they ended; of an older one a call hears only that it has."""
SLACK_SECONDS = 86_400.0
"""By so much a handle outlives its session on the wall clock, which may jump: the session's own clock ends it."""


class Settings(NamedTuple):
    """What callers of a backend may keep."""

    limits: Limits | None
    """What its sessions may take; None: there are none."""
    transactional: bool
    """Whether a session is a transaction."""
    pin_idle_seconds: float | None = None
    """How long a pinned caller keeps an idle connection; None: nobody is pinned."""


class Carrier(Protocol):
    """Whoever carries calls out: a pool, or what keeps a connection of it for one caller."""

    def submit(self, turn: Turn) -> None:
        """Takes a call. Its `deliver` is called once, later."""

    def cancel(self, turn: Turn) -> None:
        """Its caller has left. Harmless once it has its outcome."""


@dataclass(frozen=True, slots=True)
class Inside:
    """Carries a call out in a session."""

    session: Session
    act: Act

    def submit(self, turn: Turn) -> None:
        """Has it done, or refused."""
        self.session.ask(self.act, turn)

    def cancel(self, turn: Turn) -> None:
        """Stops it."""
        self.session.cancel(turn)


@dataclass(slots=True)
class Beginning:
    """Carries out a call that begins a session; it is answered once that can be used."""

    desk: "Desk"
    session: Session | None = None

    def submit(self, turn: Turn) -> None:
        """Begins it, or refuses to."""
        self.session = self.desk.begin(turn)

    def cancel(self, turn: Turn) -> None:
        """Nobody waits for it any more."""
        if self.session is not None:
            self.session.cancel(turn)


class Desk:
    """One backend's sessions and pinned callers: who carries a call out, and how many sessions there may be."""

    def __init__(self, desks: "Desks", driver: Driver, settings: Settings) -> None:
        self._desks = desks
        self._driver = driver
        self.tools = Tools.of(driver.name, settings.transactional)
        self._sentences = Sentences(driver.name, self.tools, settings.transactional)
        self._acts = {self.tools.commit: Act.COMMIT, self.tools.rollback: Act.ROLLBACK}
        self._sessions: set[Session] = set()
        self._pins = Pins(driver, 0.0)
        self.settings = settings

    @property
    def settings(self) -> Settings:
        """May be replaced at any time; sessions that are open go on by those that they began with."""
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._settings = settings
        if settings.pin_idle_seconds is None:
            self._pins.drain()
        else:
            self._pins.idle_seconds = settings.pin_idle_seconds

    def __len__(self) -> int:
        """How many sessions there are, those included that wait for their connection."""
        return len(self._sessions)

    def holds(self) -> Iterator[Session | Pin]:
        """Whatever keeps a connection for a caller, or waits for one."""
        yield from self._sessions
        yield from self._pins

    def serves(self, driver: Driver, transactional: bool) -> bool:
        """Whether it is still the one for a backend, after a reload."""
        return self._driver is driver and self._settings.transactional == transactional

    def session(self, arguments: dict[str, Any]) -> str:
        """Takes the session out of a call's arguments: its handle, or nothing."""
        return str(arguments.pop(ARGUMENT, "")) if self._settings.limits is not None else ""

    def carrier(self, operation: str, session: str, caller: Caller) -> Carrier | None:
        """Who carries a call out that names this session, or none; None: its pool does.

        Raises Fault when the session is not its caller's, or not there any more.
        """
        if self._settings.limits is not None and operation == self.tools.begin:
            return Beginning(self)
        if not session:
            return None if self._settings.pin_idle_seconds is None else self._pins
        found = self._desks.find(session, caller)
        if found.driver is not self._driver:
            raise self._sentences.elsewhere(operation, found.driver.name)
        return Inside(found, self._acts.get(operation, Act.CALL))

    def begin(self, turn: Turn) -> Session | None:
        """A session for the caller of a call, who is told; None where there are as many as there may be."""
        limits = self._settings.limits
        assert limits is not None, "without sessions there is no operation that begins one"
        self._driver.calls_total += 1
        if len(self._sessions) >= limits.sessions_max:
            lives = (session.life for session in self._sessions)
            seconds = retry_seconds(lives, limits, self._driver.now)
            tell(self._driver, turn, self._sentences.too_many(limits.sessions_max, seconds))
            return None
        session = Session(self._driver, self, limits, self._sentences, turn)
        self._sessions.add(session)
        session.begin()
        self._pins.wait(session)
        return session

    def opened(self, session: Session) -> Answer:
        """A session can be used: its handle, and how long it lasts."""
        self._pins.served(session)
        limits = session.life.limits
        bounds = {"idle_seconds": limits.idle_seconds, "lifetime_seconds": limits.lifetime_seconds}
        return Answer(orjson.dumps({"session": self._desks.opened(session), **bounds}))

    def gone(self, session: Session) -> None:
        """A session is over."""
        self._pins.served(session)
        self._sessions.discard(session)
        self._desks.gone(session)

    def end(self, conversation: str) -> None:
        """A conversation is over, and with it the sessions that it left open."""
        for session in [each for each in self._sessions if each.owner.conversation == conversation]:
            session.close(Ending.LEFT)

    def drain(self) -> None:
        """The pooler is being shut down: what nobody uses is given back. Sessions have their grace."""
        self._pins.drain()


class Desks:
    """Every desk of a pooler, and every session by its handle. `wall`: Unix time in seconds."""

    def __init__(self, sealer: Sealer, wall: Clock) -> None:
        self._sealer = sealer
        self._wall = wall
        self._boot = secrets.token_bytes(BOOT_BYTES)
        self._desks: dict[str, Desk] = {}
        self._open: dict[bytes, Session] = {}
        self._ended: OrderedDict[bytes, Fault] = OrderedDict()
        """How they ended, the one that ended first before all others."""

    def __len__(self) -> int:
        """How many sessions can be used at this moment."""
        return len(self._open)

    def holds(self) -> list[Session | Pin]:
        """Whatever keeps a connection for a caller, or waits for one; those included that a reload has left behind."""
        found = dict.fromkeys(hold for desk in self._desks.values() for hold in desk.holds())
        return [*(found | dict.fromkeys(self._open.values()))]

    def install(self, drivers: Mapping[str, Driver], settings: Mapping[str, Settings]) -> Mapping[str, Desk]:
        """The desks of a configuration, by backend. Sessions that are open go on by the limits that they began with."""
        before, self._desks = self._desks, {}
        for name, each in settings.items():
            desk = before.pop(name, None)
            if desk is None or not desk.serves(drivers[name], each.transactional):
                desk = Desk(self, drivers[name], each)
            desk.settings = each
            self._desks[name] = desk
        for desk in before.values():
            desk.drain()
        return self._desks

    def tools(self, backend: str) -> Tools:
        """The operations of a backend's sessions. Raises Fault when it has none."""
        desk = self._desks.get(backend)
        if desk is None or desk.settings.limits is None:
            sentence = (
                f"There is no backend {backend!r} that has sessions: `backends.{backend}.sessions` gives it some."
            )
            raise Fault(Reason.OPERATION_NOT_FOUND, sentence)
        return desk.tools

    def find(self, handle: str, caller: Caller) -> Session:
        """The session of a handle. Raises Fault when it is not the caller's, or not there any more."""
        payload = self._sealer.open(handle, KIND, caller.tenant, caller.principal)
        boot, number = payload[:BOOT_BYTES], payload[BOOT_BYTES:]
        if boot != self._boot:
            raise restarted()
        session = self._open.get(number)
        if session is None:
            if fault := self._ended.get(number):
                raise Fault(fault.reason, fault.message, fault.metadata)
            expired(KIND)
        return session

    def opened(self, session: Session) -> str:
        """Enters a session that can be used. Returns its handle."""
        log.info("session begun", backend=session.driver.name, tenant=session.owner.tenant)
        self._open[session.number] = session
        until = self._wall() + session.life.limits.lifetime_seconds + SLACK_SECONDS
        owner = session.owner
        return self._sealer.seal(KIND, self._boot + session.number, owner.tenant, owner.principal, until)

    def end(self, conversation: str) -> None:
        """A conversation is over, and with it the sessions that it left open."""
        for desk in self._desks.values():
            desk.end(conversation)

    def drain(self) -> None:
        """The pooler is being shut down."""
        for desk in self._desks.values():
            desk.drain()

    def gone(self, session: Session) -> None:
        """Remembers how a session ended, if anybody could ask."""
        if self._open.pop(session.number, None) is None:
            return
        assert session.life.ending is not None
        log.info("session over", backend=session.driver.name, ending=session.life.ending.value)
        self._ended[session.number] = session.sentences.over(session.life.ending)
        if len(self._ended) > ENDED_MAX:
            self._ended.popitem(last=False)
