"""The commands that look at a running pooler: their options and their help. They change nothing.

Everything heavy is imported by the command that needs it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from pooler.ctl.exits import Exit, fail
from pooler.ctl.options import (
    USUAL_INTERVAL,
    USUAL_LIMIT,
    USUAL_TIMEOUT,
    Address,
    Backends,
    ConfigFile,
    Interval,
    Json,
    Limit,
    Timeout,
    TokenFile,
    Watch,
)
from pooler.ctl.reach import Reach, reach

app = typer.Typer()
PANEL = "Look at a running pooler"

SHOWS = {
    "pools": ("pools",), "databases": ("pools",), "servers": ("connections",), "clients": ("queue", "waiting"),
    "stats": ("stats",), "totals": ("stats",), "connections": ("connections",), "queue": ("queue", "waiting"),
    "sessions": ("sessions",), "runs": ("runs",), "changes": ("changes",), "cache": ("cache", "kept"),
}  # fmt: skip
"""PgBouncer's words beside our own, and what is shown for them."""


def _show(
    names: Sequence[str],
    backends: list[str] | None,
    where: Reach,
    limit: int,
    as_json: bool,
    watch: float | None,
) -> None:
    from pooler.ctl import views
    from pooler.ctl.showing import Look

    look = Look([getattr(views, name.upper()) for name in names], backends or [], limit, as_json=as_json)
    look.once(where) if watch is None else look.again(where, watch)


@app.command(rich_help_panel=PANEL)
def pools(
    backends: Backends = None,
    pooler: Address = None,
    config: ConfigFile = None,
    token_file: TokenFile = None,
    as_json: Json = False,
    watch: Watch = False,
    interval: Interval = USUAL_INTERVAL,
    timeout: Timeout = USUAL_TIMEOUT,
) -> None:
    """Show what reaches each backend, as the pool itself counts it."""
    where = reach(pooler, config, token_file, timeout)
    _show(["pools"], backends, where, USUAL_LIMIT, as_json, interval if watch else None)


@app.command(rich_help_panel=PANEL)
def stats(
    backends: Backends = None,
    pooler: Address = None,
    config: ConfigFile = None,
    token_file: TokenFile = None,
    as_json: Json = False,
    watch: Watch = False,
    interval: Interval = USUAL_INTERVAL,
    timeout: Timeout = USUAL_TIMEOUT,
) -> None:
    """Show what has become of the calls to each backend since the pooler started."""
    where = reach(pooler, config, token_file, timeout)
    _show(["stats"], backends, where, USUAL_LIMIT, as_json, interval if watch else None)


@app.command(rich_help_panel=PANEL)
def connections(
    backends: Backends = None,
    pooler: Address = None,
    config: ConfigFile = None,
    token_file: TokenFile = None,
    as_json: Json = False,
    watch: Watch = False,
    interval: Interval = USUAL_INTERVAL,
    limit: Limit = USUAL_LIMIT,
    timeout: Timeout = USUAL_TIMEOUT,
) -> None:
    """Show every connection, who has it, what it runs and since when; those at work longest first."""
    where = reach(pooler, config, token_file, timeout)
    _show(["connections"], backends, where, limit, as_json, interval if watch else None)


@app.command(rich_help_panel=PANEL)
def queue(
    backends: Backends = None,
    pooler: Address = None,
    config: ConfigFile = None,
    token_file: TokenFile = None,
    as_json: Json = False,
    watch: Watch = False,
    interval: Interval = USUAL_INTERVAL,
    limit: Limit = 20,
    timeout: Timeout = USUAL_TIMEOUT,
) -> None:
    """Show what each tenant waits for and has waited for in vain, and the calls that have waited longest."""
    where = reach(pooler, config, token_file, timeout)
    _show(["queue", "waiting"], backends, where, limit, as_json, interval if watch else None)


@app.command(rich_help_panel=PANEL)
def sessions(
    backends: Backends = None,
    pooler: Address = None,
    config: ConfigFile = None,
    token_file: TokenFile = None,
    as_json: Json = False,
    watch: Watch = False,
    interval: Interval = USUAL_INTERVAL,
    limit: Limit = USUAL_LIMIT,
    timeout: Timeout = USUAL_TIMEOUT,
) -> None:
    """Show the connections that are kept for one caller: sessions, and pinned callers."""
    where = reach(pooler, config, token_file, timeout)
    _show(["sessions"], backends, where, limit, as_json, interval if watch else None)


@app.command(rich_help_panel=PANEL)
def runs(
    pooler: Address = None,
    config: ConfigFile = None,
    token_file: TokenFile = None,
    as_json: Json = False,
    watch: Watch = False,
    interval: Interval = USUAL_INTERVAL,
    limit: Limit = USUAL_LIMIT,
    timeout: Timeout = USUAL_TIMEOUT,
) -> None:
    """Show the calls that can be followed: those under way, and those that are kept."""
    where = reach(pooler, config, token_file, timeout)
    _show(["runs"], None, where, limit, as_json, interval if watch else None)


@app.command(rich_help_panel=PANEL)
def cache(
    backends: Backends = None,
    pooler: Address = None,
    config: ConfigFile = None,
    token_file: TokenFile = None,
    as_json: Json = False,
    watch: Watch = False,
    interval: Interval = USUAL_INTERVAL,
    timeout: Timeout = USUAL_TIMEOUT,
) -> None:
    """Show whose calls shared answers have spared, and what is kept of them."""
    where = reach(pooler, config, token_file, timeout)
    _show(["cache", "kept"], backends, where, USUAL_LIMIT, as_json, interval if watch else None)


@app.command(rich_help_panel=PANEL)
def changes(
    backends: Backends = None,
    pooler: Address = None,
    config: ConfigFile = None,
    token_file: TokenFile = None,
    as_json: Json = False,
    watch: Watch = False,
    interval: Interval = USUAL_INTERVAL,
    limit: Limit = 20,
    timeout: Timeout = USUAL_TIMEOUT,
) -> None:
    """Show what was ordered, by whom, when, from where, before and after; the latest first."""
    where = reach(pooler, config, token_file, timeout)
    _show(["changes"], backends, where, limit, as_json, interval if watch else None)


@app.command(rich_help_panel=PANEL)
def show(
    what: Annotated[str, typer.Argument(metavar="WORD", help="pools, servers, clients, stats, config, …")],
    backends: Backends = None,
    pooler: Address = None,
    config: ConfigFile = None,
    token_file: TokenFile = None,
    as_json: Json = False,
    watch: Watch = False,
    interval: Interval = USUAL_INTERVAL,
    limit: Limit = USUAL_LIMIT,
    timeout: Timeout = USUAL_TIMEOUT,
) -> None:
    """The same by PgBouncer's words: show pools, servers, clients, stats, config, version."""
    word = what.lower()
    if word in ("config", "version"):
        _show_ours(word, config)
        return
    if word not in SHOWS:
        from pooler.config.faults import nearest

        fail(f"there is no {what!r} to show; {nearest(word, [*SHOWS, 'config', 'version'])}", Exit.USAGE)
    where = reach(pooler, config, token_file, timeout)
    _show(SHOWS[word], backends, where, limit, as_json, interval if watch else None)


def _show_ours(word: str, config: Path | None) -> None:
    """What no pooler is asked for."""
    if word == "config":
        from pooler.ctl.check import check

        check(config or Path("penstock.yaml"), show=True)
        return
    from importlib.metadata import version

    print(f"penstock {version('penstock')}")


@app.command(rich_help_panel=PANEL)
def top(
    pooler: Address = None,
    config: ConfigFile = None,
    token_file: TokenFile = None,
    interval: Interval = USUAL_INTERVAL,
    timeout: Timeout = USUAL_TIMEOUT,
) -> None:
    """Watch everything live, and give orders by keys: ? lists them, q ends it."""
    from pooler.ctl.top import top as run

    run(reach(pooler, config, token_file, timeout), interval)
