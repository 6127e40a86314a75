"""What a DBA can look at: for each listing the rows in a snapshot, their columns, and how many more there are.

A row is flat and has the wire's names, so that it is a table's row and a script's JSON alike. Pure: a snapshot comes in
as plain values.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pooler.ctl import units

Row = dict[str, Any]
Snapshot = Mapping[str, Any]
NOBODY = {"request_id": "", "tenant": "", "principal": "", "operation": "", "call_state": "", "since_ms": 0}


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `least`: how narrow a terminal may be that has it; `words`: left-aligned, and sorted as text."""

    title: str
    key: str
    shown: Callable[[Row], str]
    words: bool = False
    least: int = 0

    def order(self, row: Row) -> Any:
        """What rows are sorted by."""
        return str(row[self.key]) if self.words else row[self.key]


@dataclass(frozen=True, slots=True)
class Listing:
    """One kind of thing to look at."""

    name: str
    parts: tuple[str, ...]
    rows: Callable[[Snapshot], list[Row]]
    total: Callable[[Snapshot], int]
    columns: tuple[Column, ...]
    none: str
    """What is said where there is nothing."""

    def more(self, snapshot: Snapshot) -> int:
        """How many there are that the snapshot has no room for. (Several rows may be one connection.)"""
        shown = {(row["backend"], row["number"]) if "number" in row else index
                 for index, row in enumerate(self.rows(snapshot))}  # fmt: skip
        return self.total(snapshot) - len(shown)


def _words(title: str, key: str, least: int = 0) -> Column:
    return Column(title, key, lambda row: str(row[key]).replace("_", " ") or "–", words=True, least=least)


def _name(title: str, key: str, least: int = 0) -> Column:
    """Words that are a name, and mean nothing else in any other spelling."""
    return Column(title, key, lambda row: str(row[key]) or "–", words=True, least=least)


def _number(title: str, key: str, least: int = 0) -> Column:
    return Column(title, key, lambda row: units.count(row[key]), least=least)


def _seconds(title: str, key: str, least: int = 0) -> Column:
    return Column(title, key, lambda row: units.seconds(row[key]) if row[key] else "–", least=least)


def _milliseconds(title: str, key: str, least: int = 0) -> Column:
    return Column(title, key, lambda row: units.milliseconds(row[key]) if row[key] else "–", least=least)


# Backends


def backends(snapshot: Snapshot) -> list[Row]:
    """One row for each backend, with what its states mean to people."""
    return [backend(each["backend"]) for each in snapshot["backends"]]


def backend(backend: Row) -> Row:
    """A backend as a row."""
    ending = backend["draining"] + backend["resetting"] + backend["closing"]
    waits = {f"waits_{outcome}": count for outcome, count in backend["waits"].items()}
    coming = backend["starting"] + backend["validating"]
    return {**backend, **waits, "coming": coming, "ending": ending, "state": state(backend)}


def state(backend: Row) -> str:
    """How a backend is, in a few words."""
    if backend["paused"]:
        return "paused, and draining" if backend["refusing_calls"] else "paused"
    if backend["refusing_calls"]:
        return "drained" if not _held(backend) else "draining"
    if backend["serving"]:
        held = _held(backend)
        return f"serving, {held - backend['cap']} over its cap" if held > backend["cap"] else "serving"
    return f"not serving: {backend['failure'] or 'its first start is under way'}"


def _held(backend: Row) -> int:
    names = ("starting", "validating", "idle", "in_use", "draining", "resetting", "closing")
    return sum(int(backend[name]) for name in names)


def _cap(row: Row) -> str:
    return f"{row['cap']}" if not row["reserve"] else f"{row['cap']} ({row['reserve']} reserved)"


POOLS = Listing(
    "pools",
    (),
    backends,
    lambda snapshot: len(snapshot["backends"]),
    (
        _name("backend", "name"),
        _words("kind", "kind", least=110),
        Column("cap", "cap", _cap),
        _number("start", "coming"),
        _number("idle", "idle"),
        _number("in use", "in_use"),
        _number("end", "ending"),
        _number("queue", "queued"),
        _seconds("oldest s", "oldest_wait_ms"),
        _number("calls", "calls_total", least=100),
        _seconds("start s", "start_ms", least=110),
        _words("state", "state"),
    ),
    "there are no backends",
)
STATS = Listing(
    "stats",
    (),
    backends,
    lambda snapshot: len(snapshot["backends"]),
    (
        _name("backend", "name"),
        _number("calls", "calls_total"),
        _number("granted", "waits_granted"),
        _number("timed out", "waits_timed_out"),
        _number("cancelled", "waits_cancelled"),
        _number("shed", "waits_shed"),
        _number("refused", "waits_refused"),
        _milliseconds("wait ms", "wait_mean_ms"),
        _milliseconds("work ms", "work_mean_ms"),
        _number("starts", "starts_total", least=100),
        _number("failed", "start_failures_total", least=100),
        _number("generation", "generation", least=110),
    ),
    "there are no backends",
)

# Connections and calls


def connections(snapshot: Snapshot) -> list[Row]:
    """One row for each connection; for one that several calls share, one for each of them."""
    return [row for each in snapshot["backends"] for row in _connections(each)]


def _connections(shown: Row) -> Iterator[Row]:
    for connection in shown["connections"]:
        own = {key: value for key, value in connection.items() if key != "calls"}
        own["backend"] = shown["backend"]["name"]
        for call in connection["calls"] or [None]:
            yield {**own, **(NOBODY if call is None else _call(call))}


def _call(call: Row) -> Row:
    return {("call_state" if key == "state" else key): value for key, value in call.items()}


CONNECTIONS = Listing(
    "connections",
    ("connections",),
    connections,
    lambda snapshot: sum(each["connections_total"] for each in snapshot["backends"]),
    (
        _name("backend", "backend"),
        _number("no", "number"),
        _words("state", "state"),
        _seconds("age s", "age_ms", least=100),
        _number("uses", "uses", least=100),
        _name("tenant", "tenant"),
        _name("principal", "principal", least=100),
        _name("operation", "operation"),
        _seconds("for s", "since_ms"),
        _name("request", "request_id"),
        _name("tag", "tag", least=160),
    ),
    "no connection is open or starting",
)


def waiting(snapshot: Snapshot) -> list[Row]:
    """The calls that wait, backend by backend, those first that have waited longest."""
    return [
        {"backend": each["backend"]["name"], **_call(call)} for each in snapshot["backends"] for call in each["waiting"]
    ]


WAITING = Listing(
    "waiting",
    ("queue",),
    waiting,
    lambda snapshot: sum(each["waiting_total"] for each in snapshot["backends"]),
    (
        _name("backend", "backend"),
        _name("tenant", "tenant"),
        _name("principal", "principal"),
        _name("operation", "operation"),
        _seconds("waits s", "since_ms"),
        _name("request", "request_id"),
    ),
    "nobody waits",
)


def tenants(snapshot: Snapshot) -> list[Row]:
    """What each tenant has of each backend."""
    return [
        {"backend": each["backend"]["name"], **tenant} for each in snapshot["backends"] for tenant in each["tenants"]
    ]


QUEUE = Listing(
    "queue",
    ("queue",),
    tenants,
    lambda snapshot: sum(each["tenants_total"] for each in snapshot["backends"]),
    (
        _name("backend", "backend"),
        _name("tenant", "tenant"),
        Column("weight", "weight", lambda row: f"{row['weight']:g}"),
        _number("waiting", "waiting"),
        _seconds("oldest s", "oldest_wait_ms"),
        _number("at work", "at_work"),
        _number("timed out", "timed_out"),
        _number("shed", "shed"),
        _number("refused", "refused"),
        _number("cancelled", "cancelled", least=100),
    ),
    "nobody waits or works, and nobody has waited in vain",
)

# What is kept for callers

SESSIONS = Listing(
    "sessions",
    ("sessions",),
    lambda snapshot: list(snapshot["sessions"]),
    lambda snapshot: int(snapshot["sessions_total"]),
    (
        _name("backend", "backend"),
        _name("session", "name"),
        _words("kind", "kind"),
        _name("tenant", "tenant"),
        _name("principal", "principal"),
        _words("state", "state"),
        _number("connection", "connection"),
        _seconds("age s", "age_ms"),
        _seconds("idle s", "idle_ms"),
        _number("calls", "calls"),
    ),
    "nobody keeps a connection",
)
RUNS = Listing(
    "runs",
    ("runs",),
    lambda snapshot: list(snapshot["runs"]),
    lambda snapshot: int(snapshot["runs_total"]),
    (
        _name("run", "name"),
        _name("tenant", "tenant"),
        _name("operation", "operation"),
        _words("status", "status"),
        _seconds("age s", "age_ms"),
        _seconds("quiet s", "quiet_ms"),
        _number("followers", "followers"),
        Column("kept KiB", "kept_bytes", lambda row: units.kilobytes(row["kept_bytes"])),
    ),
    "no run is under way or kept",
)

CACHE = Listing(
    "cache",
    ("cache",),
    lambda snapshot: list(snapshot["cache"]["operations"]),
    lambda snapshot: len(snapshot["cache"]["operations"]),
    (
        _name("backend", "backend"),
        _name("operation", "operation"),
        _number("hits", "hit"),
        _number("stale", "stale"),
        _number("joined", "joined"),
        _number("misses", "miss"),
        _number("alone", "alone"),
        _number("renewals", "renewals"),
    ),
    "no operation shares its answers",
)
KEPT = Listing(
    "kept",
    ("cache",),
    lambda snapshot: [{key: value for key, value in snapshot["cache"].items() if key != "operations"}],
    lambda snapshot: 1,
    (
        _number("answers kept", "answers"),
        Column("KiB", "bytes", lambda row: units.kilobytes(row["bytes"])),
        Column("of KiB", "bytes_max", lambda row: units.kilobytes(row["bytes_max"])),
        _number("gave way", "evictions_total"),
    ),
    "",
)


def about(change: Row) -> str:
    """What a change was about, which one of many, before and after."""
    facts = ", ".join(f"{name} {value}" for name, value in sorted(change["facts"].items()))
    return f"{change['before']} → {change['after']}" + (f" ({facts})" if facts else "")


CHANGES = Listing(
    "changes",
    ("changes",),
    lambda snapshot: list(snapshot["changes"]),
    lambda snapshot: int(snapshot["changes_total"]),
    (
        Column("when", "at_ms", lambda row: units.moment(row["at_ms"]), words=True),
        _name("who", "who"),
        _name("from", "source", least=100),
        _words("order", "order"),
        _name("backend", "backend"),
        Column("what", "after", about, words=True),
    ),
    "nothing has been ordered",
)


def columns_for(listing: Listing, width: int | None) -> Sequence[Column]:
    """Those that a terminal of this width has room for; None: all of them."""
    return [column for column in listing.columns if width is None or column.least <= width]
