"""The commands that give orders to a running pooler: their options and their help.

An order acts at once, never breaks a cap, and is put on record. Each says what has become of it; `--json` says it as
the wire does. Everything heavy is imported by the command that needs it.
"""

from typing import Annotated

import typer

from pooler.ctl.exits import Exit, fail
from pooler.ctl.options import USUAL_TIMEOUT, Address, ConfigFile, Json, Timeout, TokenFile
from pooler.ctl.reach import Reach, reach

app = typer.Typer()
PANEL = "Give it orders"

Backend = Annotated[str, typer.Argument(metavar="BACKEND", help="The backend's name.")]
Several = Annotated[list[str] | None, typer.Argument(metavar="[BACKEND]...", help="The backends' names.")]
All = Annotated[bool, typer.Option("--all", help="All backends.")]

RELOAD_TIMEOUT = 120.0
"""It answers when the backends that were removed are drained."""


@app.command(rich_help_panel=PANEL)
def cap(
    backend: Backend,
    connections: Annotated[int, typer.Argument(metavar="N", min=1, help="The most connections it may ever see.")],
    pooler: Address = None,
    config: ConfigFile = None,
    token_file: TokenFile = None,
    as_json: Json = False,
    timeout: Timeout = USUAL_TIMEOUT,
) -> None:
    """Change a backend's cap, at once, until the next reload or restart."""
    where = reach(pooler, config, token_file, timeout)
    _order("SetCap", [backend], where, as_json, cap=connections)


@app.command(rich_help_panel=PANEL)
def pause(
    backends: Several = None,
    every: All = False,
    pooler: Address = None,
    config: ConfigFile = None,
    token_file: TokenFile = None,
    as_json: Json = False,
    timeout: Timeout = USUAL_TIMEOUT,
) -> None:
    """Serve nobody from now on: who waits goes on waiting, what runs goes on running."""
    where = reach(pooler, config, token_file, timeout)
    _order("Pause", _named(backends, every, where), where, as_json)


@app.command(rich_help_panel=PANEL)
def resume(
    backends: Several = None,
    every: All = False,
    pooler: Address = None,
    config: ConfigFile = None,
    token_file: TokenFile = None,
    as_json: Json = False,
    timeout: Timeout = USUAL_TIMEOUT,
) -> None:
    """End a pause and a drain: who waits is served, in order."""
    where = reach(pooler, config, token_file, timeout)
    _order("Resume", _named(backends, every, where), where, as_json)


@app.command(rich_help_panel=PANEL)
def drain(
    backends: Several = None,
    every: All = False,
    pooler: Address = None,
    config: ConfigFile = None,
    token_file: TokenFile = None,
    as_json: Json = False,
    timeout: Timeout = USUAL_TIMEOUT,
) -> None:
    """Refuse new calls, serve those that wait, and close every connection; `resume` takes it back."""
    where = reach(pooler, config, token_file, timeout)
    _order("Drain", _named(backends, every, where), where, as_json)


@app.command(rich_help_panel=PANEL)
def retire(
    backends: Several = None,
    every: All = False,
    pooler: Address = None,
    config: ConfigFile = None,
    token_file: TokenFile = None,
    as_json: Json = False,
    timeout: Timeout = USUAL_TIMEOUT,
) -> None:
    """The backend has moved: replace every connection, as its call ends. No call fails of it."""
    where = reach(pooler, config, token_file, timeout)
    _order("Retire", _named(backends, every, where), where, as_json)


app.command("reconnect", hidden=True, help="PgBouncer's word for `retire`.")(retire)


@app.command(rich_help_panel=PANEL)
def kill(
    backend: Backend,
    connection: Annotated[
        int | None, typer.Option(metavar="NO", min=1, help="A connection, by its number, with what runs on it.")
    ] = None,
    call: Annotated[
        str | None, typer.Option(metavar="REQUEST", help="A call, by its request id; its connection serves on.")
    ] = None,
    tenant: Annotated[str, typer.Option(help="Whose call, where several tenants use one request id.")] = "",
    pooler: Address = None,
    config: ConfigFile = None,
    token_file: TokenFile = None,
    as_json: Json = False,
    timeout: Timeout = USUAL_TIMEOUT,
) -> None:
    """End one call, or one connection. `penstock connections` and `penstock queue` tell their names."""
    if (connection is None) == (call is None):
        fail("say what to kill: either --connection NO or --call REQUEST", Exit.USAGE)
    where = reach(pooler, config, token_file, timeout)
    if connection is not None:
        _order("KillConnection", [backend], where, as_json, number=connection)
    else:
        _order("KillCall", [backend], where, as_json, request_id=call, tenant=tenant)


@app.command(rich_help_panel=PANEL)
def invalidate(
    tags: Annotated[list[str] | None, typer.Argument(metavar="[TAG]...", help="Of answers that have these.")] = None,
    operation: Annotated[str, typer.Option(metavar="NAME", help="All of an operation's answers.")] = "",
    every: Annotated[bool, typer.Option("--all", help="All answers.")] = False,
    pooler: Address = None,
    config: ConfigFile = None,
    token_file: TokenFile = None,
    as_json: Json = False,
    timeout: Timeout = USUAL_TIMEOUT,
) -> None:
    """Give answers that are kept to nobody any more, because what they say is not true now."""
    if not (tags or operation or every):
        fail("name tags, an --operation, or say --all", Exit.USAGE)
    from pooler.ctl import obeying

    where = reach(pooler, config, token_file, timeout)
    obeying.invalidate(where, tags or [], operation, every, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def reload(
    pooler: Address = None,
    config: ConfigFile = None,
    token_file: TokenFile = None,
    as_json: Json = False,
    timeout: Timeout = RELOAD_TIMEOUT,
) -> None:
    """Have the pooler read its configuration again, and say what has changed or what is wrong with it."""
    from pooler.ctl import obeying

    obeying.reload(reach(pooler, config, token_file, timeout), as_json=as_json)


def _order(name: str, backends: list[str], where: Reach, as_json: bool, **fields: object) -> None:
    from pooler.ctl import obeying

    obeying.order(name, backends, where, as_json=as_json, **fields)


def _named(backends: list[str] | None, every: bool, where: Reach) -> list[str]:
    if bool(backends) == every:
        fail("name the backends that are meant, or say --all", Exit.USAGE)
    if backends:
        return backends
    from pooler.ctl import obeying

    return obeying.names(where)
