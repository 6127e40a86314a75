"""Where an operation's calls go, what holds for them, and whether their arguments fit. It sends nothing."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import jsonschema_rs
import orjson

from pooler.errors import Fault, Reason
from pooler.runtime.desks import Carrier, Desk
from pooler.runtime.driver import Driver
from pooler.runtime.results import Paging

if TYPE_CHECKING:
    from pooler.runtime.calls import Call

FAULTS_TOLD = 5
"""How many things that are wrong with the arguments one answer lists."""

SENTENCE_MAX = 300
"""A fault quotes the value that does not fit; this bounds it, in characters."""

BIG_INTEGER = re.compile(rb"[0-9]{19}")
"""What may be an integer beyond 64 bits; a text that looks like one costs only time."""


class Reusing(Protocol):
    """What becomes of an operation's calls because answers are shared: its own, or those that it makes wrong."""

    def attend(self, call: "Call", carrier: Carrier | None) -> Carrier | None:
        """Who carries a call out that is about to be sent; None: its pool does. `carrier`: who else would."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where an operation's calls go, and what holds for them."""

    name: str
    driver: Driver
    read: bool
    whole: bool
    """Whether its calls have their connections for themselves, where others could share them; but see `shares`."""
    timeout_seconds: float
    queue_timeout_seconds: float
    validator: jsonschema_rs.Draft202012Validator
    defaults: Mapping[str, Any] = field(default_factory=dict)
    confirm: str = ""
    """What its user is asked before it is begun, with places for its arguments; empty: nothing."""
    paging: Paging | None = None
    """How its results are cut into pages; None: there is one page, and no more."""
    desk: Desk | None = None
    """Who knows what its callers keep of its backend; None: nothing."""
    shared: bool = False
    """Whether calls of it that take nothing along share connections, as long as they fit there."""
    reuse: Reusing | None = None
    """Who shares its answers, or knows which ones its work makes wrong; None: they are nobody else's business."""

    def shares(self, now: float) -> bool:
        """Whether a plain call of it that comes now shares its connection."""
        return self.shared and not self.driver.pool.sharing.apart(self.name, now)

    def arguments(self, body: bytes) -> dict[str, Any]:
        """The arguments, checked and with their defaults. Raises Fault, listing what is wrong and where."""
        try:
            arguments: Any = _decoded(body or b"{}")
        except ValueError as error:
            raise Fault(Reason.INVALID_ARGUMENTS, f"The arguments of {self.name} are no JSON: {error}") from None
        if not self.validator.is_valid(arguments):
            raise Fault(Reason.INVALID_ARGUMENTS, f"The arguments of {self.name} do not fit: {self._wrong(arguments)}")
        return {**self.defaults, **arguments} if self.defaults else arguments

    def _wrong(self, arguments: Any) -> str:
        found = []
        for error in self.validator.iter_errors(arguments):
            place = ".".join(map(str, error.instance_path))
            sentence = error.message if len(error.message) <= SENTENCE_MAX else error.message[:SENTENCE_MAX] + "…"
            found.append(f"{place}: {sentence}" if place else sentence)
        more = f"; and {len(found) - FAULTS_TOLD} more" if len(found) > FAULTS_TOLD else ""
        return "; ".join(found[:FAULTS_TOLD]) + more


def _decoded(body: bytes) -> Any:
    """JSON with every digit of its integers: orjson turns those beyond 64 bits into floats without a word."""
    return json.loads(body, parse_constant=_refuse) if BIG_INTEGER.search(body) else orjson.loads(body)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")
