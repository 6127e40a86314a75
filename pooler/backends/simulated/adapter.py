"""The adapter of a simulated system: a client library's side of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from pooler.backends import base
from pooler.backends.base import Answer, BackendError, Failure, FailureKind, Operation, Tag, Traits, Verdict, Work
from pooler.backends.simulated import classify
from pooler.backends.simulated.connection import SimulatedConnection, close_connection, open_connection
from pooler.backends.simulated.settings import Settings
from pooler.backends.simulated.system import PoisonedError, Session, System, WrongRequestError
from pooler.backends.tables import affected_answer, table_answer


@dataclass(frozen=True, slots=True)
class Prepared:
    """An operation: one of the system's methods, and the bounds of a page."""

    method: str
    page_rows: int
    page_bytes: int


def build(settings: base.Settings, system: System | None = None) -> "SimulatedAdapter":
    """Makes the adapter of a system: of a given one, or of a new one with these manners."""
    assert isinstance(settings, Settings)
    return SimulatedAdapter(system or System(settings))


class SimulatedAdapter(base.Adapter[SimulatedConnection, Prepared]):
    """Sessions of one simulated system; `system` is its far side."""

    traits = Traits(io="async", affinity="none", cancel="native", reset="full", tx="none", fate="shared")

    def __init__(self, system: System) -> None:
        self.system = system

    def prepare(self, operation: Operation) -> Prepared:
        """Nothing is compiled but the bounds."""
        return Prepared(operation.method or "", operation.page_rows, operation.page_bytes)

    async def open(self, tag: Tag) -> SimulatedConnection:
        """Logs in."""
        return await open_connection(tag, self.system)

    async def validate(self, connection: SimulatedConnection) -> None:
        """Asks whether the session can serve; a lying system always says yes."""
        await self.system.step("validate", 0)
        if not self.system.manners.lie:
            self.system.require_sound(connection.session)

    async def execute(self, connection: SimulatedConnection, work: Work) -> Answer:
        """Has the system do one of its methods."""
        prepared: Prepared = work.prepared
        connection.dirty = connection.dirty or prepared.method == "leave_trace"
        seconds = float(work.arguments.get("seconds", 0)) if prepared.method == "work" else 0.0
        job = partial(_perform, prepared, work.arguments)
        return await self.system.request(connection.session, job, seconds)

    async def cancel(self, connection: SimulatedConnection) -> Verdict:
        """Asks the system to stop the session's work."""
        stopped = await self.system.stop(connection.session)
        return Verdict.CLEAN if stopped else Verdict.DISCARD

    async def reset(self, connection: SimulatedConnection) -> Verdict:
        """Removes the trace of the last user."""
        await self.system.step("reset", 0)
        try:
            self.system.require_sound(connection.session)
        except PoisonedError:
            return Verdict.DISCARD
        connection.session.trace = None
        connection.dirty = False
        return Verdict.CLEAN

    async def close(self, connection: SimulatedConnection, force: bool) -> bool:
        """Logs out; the system takes its time to forget the session, by force or not."""
        return await close_connection(connection, self.system)

    def classify(self, error: BaseException) -> base.Failure:
        """Says what the system's errors mean."""
        return classify.classify(error)


def _perform(prepared: Prepared, arguments: Mapping[str, Any], session: Session) -> Answer:
    """What the methods do, on the system's side."""
    match prepared.method:
        case "echo":
            return _value(arguments["value"], prepared)
        case "rows":
            count = int(arguments["count"])
            rows = [[number, f"row {number}"] for number in range(count)]
            return Answer(table_answer(["number", "text"], rows, prepared.page_rows, prepared.page_bytes))
        case "work":
            return _value("done", prepared)
        case "write":
            return Answer(affected_answer(int(arguments.get("count", 1))))
        case "leave_trace":
            session.trace = arguments["value"]
            return _value("left", prepared)
        case "see_trace":
            return _value(session.trace, prepared)
        case _:
            raise WrongRequestError(f"{prepared.method!r} is no request that this system understands")


def _value(value: Any, prepared: Prepared) -> Answer:
    body = orjson.dumps(value if isinstance(value, dict) else {"result": value})
    if len(body) > prepared.page_bytes:
        words = f"the value takes {len(body)} bytes, but a page holds {prepared.page_bytes}"
        raise BackendError(Failure(FailureKind.TOO_LARGE, words))
    return Answer(body)
