"""What is measured: who is asked for what, by how many, and what they are laid beside."""

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.bench.fast.contender import NAP_SECONDS, ROWS, Contender
from tests.bench.fast.load import Heard, heard, wrk
from tests.bench.fast.pgbouncer import NAME as PGBOUNCER
from tests.bench.fast.pgbouncer import pgbench
from tests.bench.fast.toolbox import NAME as TOOLBOX

HOT_KEYS = 1000

Ask = Callable[[float, int], Awaitable[Heard]]
"""Loads for so many seconds, with this seed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One way to be asked, beside others of the same case. `bound`: so many times the calls a second of the peer."""

    label: str
    contender: Contender
    ask: Ask
    bound: float = 0.0


@dataclass(frozen=True, slots=True)
class Case:
    """Entries that do the same work; the figures of ours are laid beside `peer`'s."""

    name: str
    peer: str
    entries: list[Entry] = field(default_factory=list)


def over_mcp(contender: Contender, tool: str, keys: int, callers: int, label: str = "", bound: float = 0.0) -> Entry:
    """Asked as a tool, by wrk."""

    async def ask(seconds: float, seed: int) -> Heard:
        return await wrk(contender.address, tool, keys, callers, seconds, seed)

    return Entry(label or contender.name, contender, ask, bound)


def over_exchange(contender: Contender, operation: str, callers: int, bound: float) -> Entry:
    """Asked on one stream, by a program of ours."""

    async def ask(seconds: float, seed: int) -> Heard:
        words = [contender.address, operation, ROWS, callers, seconds, seed]
        return await heard([sys.executable, "-m", "tests.bench.fast.exchange", *map(str, words)])

    return Entry(contender.name, contender, ask, bound)


def over_sql(contender: Contender, callers: int) -> Entry:
    """Asked by pgbench."""

    async def ask(seconds: float, seed: int) -> Heard:
        return await pgbench(contender.address, callers, max(1, round(seconds)), seed)

    return Entry(contender.name, contender, ask)


@dataclass(slots=True)
class Present:
    """Who runs here; a peer that is not at hand is None."""

    line: Contender
    pooler: Contender
    toolbox: Contender | None
    fastmcp: Contender | None
    pgbouncer: Contender | None
    wrk: bool


def cases_of(present: Present) -> list[Case]:
    """All that can be measured with who is here."""
    spoken = [
        _points(present, 32, 0.8),
        _points(present, 256, 1.1),
        _hot(present, "point", f"{HOT_KEYS} hot keys", 1.2, 1.6),
        _hot(present, "nap", f"{HOT_KEYS} hot keys, {1e3 * NAP_SECONDS:g} ms of backend time", 10, 10),
    ]
    return [*(spoken if present.wrk else ()), *_alone(present)]


def _points(present: Present, callers: int, bound: float) -> Case:
    """One row of many by its key, hardly ever the same."""
    peers = [peer for peer in (present.toolbox, present.fastmcp) if peer is not None]
    entries = [
        over_mcp(present.line, "point", ROWS, callers, bound=bound),
        *(over_mcp(peer, "point", ROWS, callers) for peer in peers),
    ]
    return Case(f"point SELECT, {callers} callers", TOOLBOX, entries)


def _hot(present: Present, tool: str, name: str, pooler_bound: float, near_bound: float) -> Case:
    """Hot keys: with what the pooler keeps, and what the frontend keeps besides; beside a peer that keeps nothing."""
    kept = f"{present.line.name}, kept in the pooler"
    near = f"{present.line.name}, kept near"
    entries = [
        over_mcp(present.line, "hot" if tool == "point" else "nap", HOT_KEYS, 256, kept, pooler_bound),
        over_mcp(present.line, "near" if tool == "point" else "near_nap", HOT_KEYS, 256, near, near_bound),
    ]
    if present.toolbox is not None:
        entries.append(over_mcp(present.toolbox, tool, HOT_KEYS, 256))
    return Case(f"{name}, 256 callers", TOOLBOX, entries)


def _alone(present: Present) -> list[Case]:
    """The pooler without a frontend, and pgbouncer."""
    cases = []
    for callers in (32, 256):
        entries = [over_exchange(present.pooler, "account", callers, bound=1)]
        if present.pgbouncer is not None:
            entries.append(over_sql(present.pgbouncer, callers))
        cases.append(Case(f"pgbench -S, {callers} callers", PGBOUNCER, entries))
    return cases
