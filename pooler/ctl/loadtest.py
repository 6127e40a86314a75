"""`penstock loadtest`: an open loop of calls, a verdict for scripts, a report for people.

Ends with 0 when every limit was kept, 1 when one was missed, 2 when the command line or the plan is wrong, and 3 when
the run says nothing: it could not be made, or its own generator was too slow.
"""

import sys
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from pooler.loadtest.plan import Plan
    from pooler.loadtest.result import Result

WIDTH = 200
RATE, SECONDS = "20", 15.0
"""What is offered when nothing is said: enough to see the line work, too little to hurt anybody."""


class End(IntEnum):
    """What the exit status of a load test means."""

    MISSED = 1
    USAGE = 2
    INVALID = 3


def loadtest(
    operation: Annotated[
        str | None, typer.Argument(help="What is called; left out: as the plan says, or one that reads.")
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=VALUE]...", help='Arguments: JSON, a text, or {"range": [1, 9]} and the like.'),
    ] = None,
    plan: Annotated[Path | None, typer.Option("--plan", "-p", metavar="FILE", help="A plan, in YAML.")] = None,
    pooler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", envvar="PENSTOCK_POOLER", help="HOST:PORT or unix:PATH.  [127.0.0.1:7433]"),
    ] = None,
    mcp: Annotated[str | None, typer.Option(metavar="URL", help="Call an MCP address instead of the pooler.")] = None,
    era: Annotated[str | None, typer.Option(help="Of MCP: 2026-07-28 or 2025-11-25.")] = None,
    wire: Annotated[str | None, typer.Option(help="To the pooler: exchange or unary.")] = None,
    rate: Annotated[
        str | None, typer.Option(metavar="RATES", help="Calls a second: 50, or 50,100..400x30,50: steps and ramps.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long a step lasts that does not say it.")] = SECONDS,
    arrivals: Annotated[str | None, typer.Option(help="How calls come: poisson or even.")] = None,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="How long a caller waits.")] = None,
    tenant: Annotated[list[str] | None, typer.Option(metavar="NAME[:WEIGHT]", help="Who calls; repeatable.")] = None,
    vanish: Annotated[float | None, typer.Option(metavar="SHARE", help="Callers who leave before the answer.")] = None,
    vanish_after: Annotated[str, typer.Option(metavar="MS", help="When they leave: 50, or 10-200.")] = "10-200",
    drop: Annotated[bool, typer.Option("--drop", help="Their connections break off, rather than a cancel.")] = False,
    expect: Annotated[
        list[str] | None, typer.Option("--expect", "-e", metavar="LIMIT", help="p99<250ms, goodput>0.9; repeatable.")
    ] = None,
    observe: Annotated[
        str | None,
        typer.Option(metavar="URL", envvar="PENSTOCK_OBSERVE", help="PostgreSQL, to count connections by itself."),
    ] = None,
    writes: Annotated[bool, typer.Option("--writes", help="Let operations be called that change something.")] = False,
    seed: Annotated[int | None, typer.Option(help="What every moment and argument is drawn from.")] = None,
    find_limit: Annotated[
        bool, typer.Option("--find-limit", help="Search for the highest rate that keeps what is expected.")
    ] = False,
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="NAME", help="Writes NAME.html and NAME.json.")
    ] = "loadtest",
    compare: Annotated[Path | None, typer.Option(metavar="FILE", help="Beside a result that was kept.")] = None,
    load: Annotated[Path | None, typer.Option("--from", metavar="FILE", help="Report on a kept result anew.")] = None,
) -> None:
    """Find a pool's limits before its users do: open-loop load, a report, a verdict.

    Ends with 0 when every limit was kept, 1 when one was missed, 2 for wrong usage, 3 when the run itself is invalid.
    """
    # As names and values: what was not said must not replace what a plan says.
    given = {name: value for name, value in locals().items() if value not in (None, [])}
    raise typer.Exit(_loadtest(given))


def _loadtest(given: dict[str, Any]) -> int:
    try:
        import aiohttp  # noqa: F401
        import hdrh.histogram  # noqa: F401
    except ModuleNotFoundError as missing:
        _usage(f"{missing.name} is not installed here: pip install 'penstock[loadtest]'")
    from pooler.loadtest.result import ResultError, read

    try:
        before = read(given["compare"]) if "compare" in given else None
        result = read(given["load"]) if "load" in given else _made(given)
    except ResultError as error:
        _usage(str(error))
    return _told(result, before, given)


def _made(given: dict[str, Any]) -> "Result":
    """Makes the run that the command line and the plan ask for, and keeps its figures."""
    from rich.console import Console

    from pooler.config import ConfigError
    from pooler.loadtest.fitting import PlanError
    from pooler.loadtest.making import make
    from pooler.loadtest.result import write
    from pooler.service.load import LoadError

    kept = Path(f"{given['out']}.json")
    if not kept.parent.is_dir():
        _usage(f"there is no folder {kept.parent} to write {kept.name} to; make it, or name another --out")
    if "compare" in given and kept.resolve() == given["compare"].resolve():
        _usage(f"the run would write over {given['compare']}, which it is to be compared with; name another --out")
    try:
        result = make(_plan(given), Console(stderr=True, highlight=False), find_limit=given["find_limit"])
    except (ConfigError, PlanError) as error:
        _usage(str(error))
    except LoadError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(End.INVALID) from None
    write(result, kept)
    return result


def _plan(given: dict[str, Any]) -> "Plan":
    from pooler.ctl.call import arguments_of
    from pooler.loadtest import flags
    from pooler.loadtest.plan_file import plan_of

    data: dict[str, Any] = {key: given[key] for key in ("arrivals", "observe", "seed") if key in given}
    target = {key: given[key] for key in ("pooler", "mcp", "era", "wire") if key in given}
    data |= {"target": target} if target else {}
    data |= {"writes": True} if given["writes"] else {}
    data |= {"timeout_seconds": given["timeout"]} if "timeout" in given else {}
    if "rate" in given or "plan" not in given:
        data["steps"] = flags.steps_of(given.get("rate", RATE), given["seconds"])
    data |= {"tenants": flags.tenants_of(given["tenant"])} if "tenant" in given else {}
    data |= {"expect": given["expect"]} if "expect" in given else {}
    if "vanish" in given:
        data["vanish"] = flags.vanish_of(given["vanish"], given["vanish_after"], drop=given["drop"])
    if "operation" in given:
        data["calls"] = [{"operation": given["operation"], "arguments": arguments_of(given.get("values", []), None)}]
    return plan_of(given.get("plan"), data)


def _told(result: "Result", before: "Result | None", given: dict[str, Any]) -> int:
    """Prints the figures, writes the report, and says what it all comes to."""
    from rich.console import Console

    from pooler.loadtest.report import page
    from pooler.loadtest.summary import changes_table, show

    # Not cut where it goes into a file or another program.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    report = Path(f"{given['out']}.html")
    report.write_text(page.written(result, before), "utf-8")
    show(result, console)
    if before is not None:
        console.print(changes_table(before, result))
    console.print(f"report: {report}, figures: {given.get('load', Path(given['out'] + '.json'))}", markup=False)
    if result.invalid:
        return End.INVALID
    return 0 if result.kept else End.MISSED


def _usage(sentence: str) -> NoReturn:
    print(sentence, file=sys.stderr)
    raise typer.Exit(End.USAGE)
