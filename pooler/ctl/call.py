"""`penstock call`: one operation from the command line, its answer, and where the time went."""

import sys
from collections.abc import Sequence
from typing import Any

import orjson

from pooler.ctl.exits import Exit, exit_of, fail
from pooler.service.client import CallError, CallResult, PoolerClient


def call_operation(
    operation: str,
    values: Sequence[str],
    json_object: str | None,
    timeout_seconds: float,
    tenant: str,
    principal: str,
    address: str,
) -> None:
    """Prints the answer on stdout and the timing on stderr, or ends with the reason of the failure."""
    arguments = arguments_of(values, json_object)
    try:
        with PoolerClient(address) as client:
            result = client.call(operation, arguments, timeout_seconds, tenant, principal)
    except CallError as error:
        fail(f"{error.reason or error.status}: {error.message}", exit_of(error.status))
    except KeyboardInterrupt:
        fail("cancelled", Exit.FAILED)
    _print(result)


def arguments_of(values: Sequence[str], json_object: str | None) -> dict[str, Any]:
    """The arguments that a command line means: `--json OBJECT`, then NAME=VALUE, of which the later ones win."""
    arguments: dict[str, Any] = {}
    if json_object is not None:
        decoded = _decoded(json_object)
        if not isinstance(decoded, dict):
            fail(f"--json takes one JSON object, not {json_object[:40]!r}", Exit.USAGE)
        arguments |= decoded
    for value in values:
        name, equals, text = value.partition("=")
        if not (name and equals):
            fail(f"an argument is NAME=VALUE, not {value[:40]!r}", Exit.USAGE)
        arguments[name] = _decoded(text)
    return arguments


def _decoded(text: str) -> Any:
    """What the text means as JSON, or else the text itself: `7` is a number, `"7"` and `seven` are texts."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _print(result: CallResult) -> None:
    if not sys.stdout.isatty():
        sys.stdout.write(orjson.dumps(result.value).decode() + "\n")
    elif _is_table(result.value):
        _print_table(result.value)
    else:
        from rich.console import Console

        Console().print_json(orjson.dumps(result.value).decode())
    print(_spent(result), file=sys.stderr)


def _spent(result: CallResult) -> str:
    """Where its time went, and whose answer it is."""
    timing = result.timing
    kept = f", {result.age_ms / 1000:.1f} s old" if result.shared in ("hit", "stale") else ""
    shared = f", cache {result.shared}{kept}" if result.shared else ""
    return (
        f"queue {timing.queue_ms:.1f} ms, start {timing.start_ms:.1f} ms, reset {timing.reset_ms:.1f} ms, "
        f"backend {timing.backend_ms:.1f} ms{shared}"
    )


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("columns"), list) and isinstance(value.get("rows"), list)


def _print_table(answer: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for index, column in enumerate(answer["columns"]):
        numeric = all(isinstance(row[index], int | float | None) for row in answer["rows"])
        table.add_column(escape(str(column)), justify="right" if numeric else "left")
    for row in answer["rows"]:
        table.add_row(*(escape(cell if isinstance(cell, str) else orjson.dumps(cell).decode()) for cell in row))
    Console(highlight=False).print(table)
    if answer.get("truncated"):
        print(f"cut after {answer['row_count']} rows", file=sys.stderr)
    if cursor := answer.get("next_cursor"):
        print(f"there is more: the same again, with cursor={cursor}", file=sys.stderr)
