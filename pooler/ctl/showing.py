"""One look at a pooler, or one after the other: as tables for people, as JSON for scripts.

A watch ends with Ctrl-C, which is how it is meant to end. JSON is an array, or an object of several by their names; in
a watch, one a line.
"""

import sys
from collections.abc import Sequence

import orjson

from pooler.ctl.exits import exit_of, fail
from pooler.ctl.reach import Reach
from pooler.ctl.tables import console, print_table, table
from pooler.ctl.views import Listing, Snapshot
from pooler.service.admin_client import AdminClient
from pooler.service.client import CallError


class Look:
    """What is looked at, and how it is shown."""

    def __init__(self, listings: Sequence[Listing], backends: Sequence[str], limit: int, *, as_json: bool) -> None:
        self._listings = listings
        self._backends = backends
        self._limit = limit
        self._as_json = as_json
        self.parts = list(dict.fromkeys(part for listing in listings for part in listing.parts))

    def once(self, reach: Reach) -> None:
        """Shows it, or ends the command with the reason why not."""
        try:
            with reach.client() as client:
                snapshot = client.snapshot(self.parts, self._backends, self._limit, reach.timeout_seconds)
        except CallError as error:
            fail(error.message, exit_of(error.status))
        self._print(snapshot)

    def again(self, reach: Reach, interval_seconds: float) -> None:
        """Shows it whenever it has changed, until Ctrl-C."""
        try:
            with reach.client() as client:
                self._follow(client, round(interval_seconds * 1000))
        except CallError as error:
            fail(error.message, exit_of(error.status))
        except KeyboardInterrupt:
            return

    def _follow(self, client: AdminClient, interval_ms: int) -> None:
        snapshots = client.watch(self.parts, self._backends, self._limit, interval_ms)
        if self._as_json or not sys.stdout.isatty():
            for snapshot in snapshots:
                self._print(snapshot)
            return
        from rich.console import Group
        from rich.live import Live
        from rich.text import Text

        here = console()
        with Live(console=here, screen=True, auto_refresh=False) as live:
            for snapshot in snapshots:
                parts = [
                    table(listing, rows, here.width) if (rows := listing.rows(snapshot)) else Text(listing.none)
                    for listing in self._listings
                ]
                spaced = [each for part in parts for each in (part, Text(""))]
                live.update(Group(*spaced, Text("Ctrl-C ends it", style="dim")), refresh=True)

    def _print(self, snapshot: Snapshot) -> None:
        if self._as_json:
            sys.stdout.write(orjson.dumps(self._document(snapshot)).decode() + "\n")
        for number, listing in enumerate(self._listings):
            if not self._as_json:
                print("\n" if number else "", end="")
                print_table(listing, listing.rows(snapshot))
            if (more := listing.more(snapshot)) > 0:
                print(f"and {more:,} more; --limit shows up to 1000 of each backend", file=sys.stderr)
        sys.stdout.flush()

    def _document(self, snapshot: Snapshot) -> object:
        rows = {listing.name: listing.rows(snapshot) for listing in self._listings}
        return rows if len(rows) > 1 else rows.popitem()[1]
