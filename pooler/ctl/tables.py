"""Rows as a table: numbers to the right, colours on a terminal alone, and nothing cut that matters.

Where a terminal is too narrow for all columns, the ones that matter least are left out; elsewhere every one is there.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pooler.ctl.views import Column, Listing, Row, columns_for

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


STYLES = (
    ("serving", "green"),
    ("in use", "green"),
    ("working", "green"),
    ("not serving", "bold red"),
    ("failed", "red"),
    ("paused", "bold magenta"),
    ("drain", "magenta"),
    ("closing", "magenta"),
    ("starting", "cyan"),
    ("idle", "dim"),
)


def console() -> "Console":
    """What tables are printed on."""
    from rich.console import Console

    return Console(highlight=False)


def table(listing: Listing, rows: Sequence[Row], width: int | None) -> "Table":
    """`width`: the terminal's; None where it goes into a file or another program."""
    from rich.table import Table
    from rich.text import Text

    columns = columns_for(listing, width)
    made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(
            column.title,
            justify="left" if column.words else "right",
            no_wrap=width is None or not column.words,
            overflow="fold",
        )
    for row in rows:
        made.add_row(*(Text(text := column.shown(row), style_of(column, text)) for column in columns))
    return made


def style_of(column: Column, text: str) -> str:
    """Colours that can be read on dark and on light: no yellow, no white, no black."""
    if column.key not in ("state", "status"):
        return ""
    if "over its cap" in text:
        return "bold red"
    return next((style for words, style in STYLES if text.startswith(words)), "")


def print_table(listing: Listing, rows: Sequence[Row]) -> None:
    """Prints it, as wide as it is where nobody looks at it."""
    from rich.measure import Measurement

    here = console()
    if not rows:
        print(listing.none, file=sys.stderr)
        return
    if sys.stdout.isatty():
        here.print(table(listing, rows, here.width))
        return
    whole = table(listing, rows, None)
    options = here.options.update(max_width=1 << 20)
    here.width = Measurement.get(here, options, whole).maximum
    here.print(whole)
