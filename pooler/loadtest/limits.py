"""What is expected of a run, in a line each: `p99<250ms`, `goodput{tenant=shop}>=0.95`, `connections<=cap`.

    METRIC[{key=value, …}] OP VALUE        OP: < <= > >=

    p50 p99 p99.9 … mean max               of good answers' latency, from the moment each call was due; 250ms, 1.5s
    queue_p99 start_mean work_p50 …        the same of its parts: queue, start, reset, work, elsewhere
    goodput                                good answers among the calls whose callers waited; 0.9, 90%
    goodput_rate                           good answers a second; 100, 100/s
    errors{reason=QUEUE_FULL}              calls that failed, or failed so, among them; 0.01, 1%
    within{ms=250}                         calls that were answered well within that time, among all; 0.99
    share{tenant=shop}                     of all good answers
    connections{backend=orders}            the most that were seen at once; a number, or `cap`
    queued{backend=orders}                 the most that were seen to wait

`step=2` narrows all but the last two, and `tenant=…` or `operation=…` those that say nothing of parts. Without `step` a
limit holds for every step that is judged. Parses alone; whether a limit was kept is for `verdicts`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, TypeAlias

PARTS = ("queue", "start", "reset", "work", "elsewhere")
"""Where a call's time goes; `elsewhere` is the wire, both programs' own time and the generator's lateness."""

_LATENCY = re.compile(rf"(?:({'|'.join(PARTS)})_)?(?:p(\d{{1,2}}(?:\.\d+)?|100)|(mean|max))")
_LIMIT = re.compile(r"\s*([a-z0-9_.]+)\s*(?:\{([^{}]*)\})?\s*(<=|>=|<|>)\s*([^\s<>=]+(?:\s*(?:ms|s|%|/s))?)\s*")
Unit: TypeAlias = Literal["latency", "share", "rate", "count"]
_UNITS: Mapping[Unit, tuple[str, ...]] = {
    "latency": ("ms", "s"),
    "share": ("", "%"),
    "rate": ("", "/s"),
    "count": ("",),
}
_VALUE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|%|/s|)")

_NARROWED = frozenset({"step", "tenant", "operation"})
_PLAIN: Mapping[str, tuple[Unit, frozenset[str], frozenset[str]]] = {
    "goodput": ("share", _NARROWED, frozenset()),
    "goodput_rate": ("rate", _NARROWED, frozenset()),
    "errors": ("share", _NARROWED | {"reason"}, frozenset()),
    "within": ("share", _NARROWED | {"ms"}, frozenset({"ms"})),
    "share": ("share", frozenset({"step", "tenant"}), frozenset({"tenant"})),
    "connections": ("count", frozenset({"backend"}), frozenset()),
    "queued": ("count", frozenset({"backend"}), frozenset()),
}
"""By metric: what it is measured in, what may narrow it, and what must."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One line of what is expected. Latencies in milliseconds, shares from 0 to 1, rates a second."""

    text: str
    metric: str
    """As in `_PLAIN`, or `latency`."""
    narrowed: Mapping[str, str]
    operator: str
    value: float
    part: str = ""
    """Of a latency: one of PARTS; empty for the whole."""
    percentile: float | None = None
    """Of a latency; None: `statistic`."""
    statistic: str = ""
    """Of a latency without a percentile: `mean` or `max`."""
    cap: bool = False
    """Whether the value is the backend's own cap."""

    def kept_by(self, value: float, bound: float | None = None) -> bool:
        """Whether a value is within it. `bound`: what `cap` stands for."""
        limit = self.value if bound is None else bound
        match self.operator:
            case "<":
                return value < limit
            case "<=":
                return value <= limit
            case ">":
                return value > limit
        return value >= limit

    @property
    def wants_little(self) -> bool:
        """Whether more is worse."""
        return self.operator in ("<", "<=")

    @property
    def unit(self) -> Unit:
        """What its value is measured in."""
        return "latency" if self.metric == "latency" else _PLAIN[self.metric][0]


def check_limit(text: str) -> None:
    """Raises ValueError that says what is wrong with a line, and how it is written."""
    parse(text)


def parse(text: str) -> Limit:
    """A line as a value. Raises ValueError."""
    found = _LIMIT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{str(text)[:80]!r} is no limit; write METRIC<VALUE, for example p99<250ms or goodput>0.9")
    metric, inside, operator, value = found.groups()
    narrowed = _narrowed(text, inside or "")
    if latency := _LATENCY.fullmatch(metric):
        part, percentile, statistic = latency.groups()
        _check_keys(text, narrowed, frozenset({"step"}) if part else _NARROWED, frozenset())
        number = _number(text, value, "latency")
        at = None if percentile is None else float(percentile)
        return Limit(text.strip(), "latency", narrowed, operator, number, part or "", at, statistic or "")
    if metric not in _PLAIN:
        raise ValueError(f"{text!r}: there is no metric {metric!r}; {_nearest(metric)}")
    unit, allowed, needed = _PLAIN[metric]
    _check_keys(text, narrowed, allowed, needed)
    cap = metric == "connections" and value == "cap"
    return Limit(text.strip(), metric, narrowed, operator, 0.0 if cap else _number(text, value, unit), cap=cap)


def _narrowed(text: str, inside: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in inside.split(",")] if inside.strip() else []
    narrowed = {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
    if not all(narrowed.values()) or len(narrowed) != len(pairs):
        raise ValueError(f"{text!r}: inside the braces stand key=value pairs, each key once")
    for key in ("step", "ms"):
        if key in narrowed and not re.fullmatch(r"[1-9]\d*", narrowed[key]):
            raise ValueError(f"{text!r}: {key} takes a whole number from 1 on, not {narrowed[key]!r}")
    return narrowed


def _check_keys(text: str, narrowed: Mapping[str, str], allowed: frozenset[str], needed: frozenset[str]) -> None:
    if unknown := narrowed.keys() - allowed:
        raise ValueError(f"{text!r}: it cannot be narrowed by {min(unknown)!r}; it can by {', '.join(sorted(allowed))}")
    if {"tenant", "operation"} <= narrowed.keys():
        raise ValueError(f"{text!r}: it is narrowed by `tenant` or by `operation`, not by both")
    if missing := needed - narrowed.keys():
        raise ValueError(f"{text!r}: it needs {{{min(missing)}=…}}")


def _number(text: str, value: str, unit: Unit) -> float:
    found = _VALUE.fullmatch(value)
    if found is None or found[2] not in _UNITS[unit]:
        ways = {"latency": "250ms or 1.5s", "share": "0.9 or 90%", "rate": "100 or 100/s", "count": "a number"}
        raise ValueError(f"{text!r}: {value!r} does not fit; it takes {ways[unit]}")
    number = float(found[1]) * {"s": 1000.0, "%": 0.01}.get(found[2], 1.0)
    if unit == "share" and number > 1:
        raise ValueError(f"{text!r}: a share is at most 1, or 100%")
    return number


def _nearest(metric: str) -> str:
    known = [*_PLAIN, "p50", "p90", "p99", "p99.9", "mean", "max", *(f"{part}_p99" for part in PARTS)]
    if close := get_close_matches(metric, known, n=1):
        return f"did you mean {close[0]!r}?"
    return f"known are {', '.join(known)}"
