"""`penstock pools`: what reaches each backend, as a table for people or as JSON for scripts."""

import sys
from dataclasses import asdict

import orjson

from pooler.ctl.exits import exit_of, fail
from pooler.service.client import BackendState, CallError, PoolerClient

COLUMNS = ("backend", "kind", "cap", "starting", "idle", "in use", "ending", "queued", "calls", "start", "state")
WIDTH = 200


def show_pools(address: str, timeout_seconds: float, *, as_json: bool) -> None:
    """Prints every backend's state, or ends with the reason why not."""
    try:
        with PoolerClient(address) as client:
            backends = client.backends(timeout_seconds)
    except CallError as error:
        fail(error.message, exit_of(error.status))
    if as_json:
        sys.stdout.write(orjson.dumps([asdict(backend) for backend in backends]).decode() + "\n")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("backend", "kind", "state") else "right", no_wrap=True)
    for backend in backends:
        table.add_row(*_row(backend))
    # Not cut where it goes into a file or another program.
    Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH).print(table)


def _row(backend: BackendState) -> list[str]:
    cap = f"{backend.cap}" if backend.reserve == 0 else f"{backend.cap} ({backend.reserve} reserved)"
    numbers = (
        backend.starting + backend.validating,
        backend.idle,
        backend.in_use + backend.draining,
        backend.resetting + backend.closing,
        backend.queued,
        backend.calls_total,
    )
    start = f"{backend.start_ms} ms" if backend.start_ms else "–"
    state = "serving" if backend.serving else f"not serving: {backend.failure or 'its first start is under way'}"
    return [backend.name, backend.kind, cap, *map(str, numbers), start, state]
