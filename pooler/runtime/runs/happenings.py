"""What may happen to a run, as plain values, and the same as bytes for the store.

The bytes are a line of JSON, and after it the result, where there is one: that is JSON already, and may be megabytes.
Nothing here decides what happens, or in which order.
"""

from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import orjson

from pooler.backends.base import Answer
from pooler.errors import Fault, Reason
from pooler.runtime.turns import Timing

EVENT_BYTES = 200
"""What an event weighs beside its own bytes, about."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The run exists. `run`: its handle; `name`: its short name within its conversation; `note`: its starter's own."""

    run: str
    name: str
    note: bytes


@dataclass(frozen=True, slots=True)
class Queued:
    """It waits for a connection; place 1 of so many is next."""

    place: int
    of: int


@dataclass(frozen=True, slots=True)
class Starting:
    """It waits for a client of the backend to start, for about so long; 0: nobody knows."""

    remaining_seconds: float


@dataclass(frozen=True, slots=True)
class Working:
    """The backend works on it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work is, in the worker's own unit or in rows."""

    progress: float
    total: float | None
    message: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line for the user. `data`: JSON."""

    level: str
    logger: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """It waits for its user. `requests`: MCP's `inputRequests`, a JSON object."""

    requests: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """The result, as a plain call would have answered it."""

    answer: Answer
    timing: Timing


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing more will happen. `fault`: None when it went well."""

    fault: Fault | None
    timing: Timing


Happening: TypeAlias = Accepted | Queued | Starting | Working | Progress | Line | Asked | Page | Done

PASSING = (Queued, Starting, Working, Progress)
"""Only the latest of them matters: where a log is too long, they are let go first."""

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Accepted, Queued, Starting, Working, Progress, Line, Asked)
}


@dataclass(frozen=True, slots=True)
class Event:
    """One happening; `seq` counts 1, 2, 3, … within its run."""

    seq: int
    what: Happening

    @property
    def size(self) -> int:
        """What it weighs in a log, in bytes."""
        match self.what:
            case Page(answer):
                return EVENT_BYTES + len(answer.body)
            case Line(_, _, data) | Asked(data) | Accepted(_, _, data):
                return EVENT_BYTES + len(data)
            case Progress(_, _, message):
                return EVENT_BYTES + len(message)
            case _:
                return EVENT_BYTES


def pack(what: Happening) -> bytes:
    """A happening as bytes."""
    body = b""
    facts: dict[str, Any]
    match what:
        case Page(answer, timing):
            body = answer.body
            facts = {"content": answer.content, "asks": answer.asks, "timing": list(timing)}
        case Done(fault, timing):
            facts = {"timing": list(timing)}
            if fault is not None:
                facts["fault"] = [fault.reason, fault.message, dict(fault.metadata)]
        case Accepted(run, name, note):
            body = note  # any bytes, where those of the others are JSON
            facts = {"run": run, "name": name}
        case _:
            facts = {key: value.decode() if isinstance(value, bytes) else value for key, value in asdict(what).items()}
    return orjson.dumps([type(what).__name__, facts]) + b"\n" + body


def unpack(data: bytes) -> Happening:
    """What `pack` made bytes of."""
    line, _, body = data.partition(b"\n")
    kind, facts = orjson.loads(line)
    if kind == "Page":
        return Page(Answer(body, facts["content"], facts["asks"]), Timing(*facts["timing"]))
    if kind == "Done":
        return Done(_fault(facts.get("fault")), Timing(*facts["timing"]))
    if kind == "Accepted":
        return Accepted(facts["run"], facts["name"], body)
    for key in ("data", "requests"):
        if key in facts:
            facts[key] = facts[key].encode()
    happening: Happening = _KINDS[kind](**facts)
    return happening


def _fault(facts: list[Any] | None) -> Fault | None:
    if facts is None:
        return None
    reason, message, metadata = facts
    return Fault(Reason(reason), message, metadata)
