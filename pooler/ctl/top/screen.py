"""`penstock top` as lines of text, for a terminal of any size. It shows a model, and decides nothing.

Colours are the terminal's own, and none that is lost on a dark or on a light ground; what is chosen is reversed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.text import Text

from pooler.ctl import units
from pooler.ctl.tables import style_of
from pooler.ctl.top.model import BACKENDS, PANES, TITLES, Model
from pooler.ctl.views import Column, Row, columns_for

GAP = 2
WORDS_LEAST = 6
"""How narrow a column of words may become before the next one has to."""
BACKENDS_SHARE = 3
"""The backends have at most one part in so many of the screen."""
SLOTS_MAX = 32
"""For so many connections a cap is drawn one by one; a larger one in proportion."""
SLOTS_LEAST = 120
"""How wide a terminal must be for that drawing."""
SLOTS = (("in_use", "█", "green"), ("idle", "▒", "green"), ("coming", "▲", "cyan"), ("ending", "×", "magenta"))
STALE_SECONDS = 8.0
"""The pooler sends something every 5 s; after so long nothing, it is said."""
AGES = frozenset({"since_ms", "age_ms", "oldest_wait_ms", "idle_ms", "quiet_ms"})
HINTS = "↑↓ tab  1-7 show  s sort  p pause  r resume  c cap  k kill  ? all keys  q quit"
KEYS = (
    ("↑ ↓", "choose a backend or a row; page up, page down, home, end"),
    ("tab", "from the backends to the rows, and back"),
    ("1 to 7, ← →", "what is shown below"),
    ("s, o", "sort by the next column; the other way round"),
    ("p, r", "pause the backend; resume it, also after a drain"),
    ("d", "drain it: it takes no new calls, and its connections close"),
    ("x", "retire its connections: each is replaced as its call ends"),
    ("c", "change its cap"),
    ("k", "kill the chosen call, or a connection that nobody has"),
    ("K", "kill the chosen connection, whoever has it"),
    ("q", "quit"),
    ("slots", "█ in use  ▒ idle  ▲ starting  × ending  · free (on wide terminals)"),
    ("", "Every order asks first, and is put on record: see changes."),
)


@dataclass(frozen=True, slots=True)
class Frame:
    """What a screen is made for. `quiet_seconds`: since the last news; `fault`: why there is none."""

    width: int
    height: int
    address: str
    quiet_seconds: float = 0.0
    fault: str = ""


def draw(model: Model, frame: Frame) -> Group:
    """Exactly as many lines as the screen has."""
    top = [_title(model, frame), *_backends(model, frame), Text()]
    bottom = [_detail(model), _last_line(model, frame)]
    room = max(0, frame.height - len(top) - len(bottom))
    middle = (_help() if model.help else _pane(model, frame, room))[:room]
    lines = [*top, *middle, *[Text()] * (room - len(middle)), *bottom]
    for line in lines:
        line.no_wrap, line.overflow = True, "crop"
        line.truncate(frame.width)
    return Group(*lines[: frame.height])


def _title(model: Model, frame: Frame) -> Text:
    snapshot = model.snapshot
    when = units.moment(snapshot["taken_at_ms"]).split()[1] if snapshot else ""
    title = Text(f"penstock top   {frame.address}   {snapshot.get('pooler', '')}   {when}", "bold")
    if snapshot.get("stopping"):
        title.append("   it is being shut down", "bold magenta")
    return title


# Backends


def _backends(model: Model, frame: Frame) -> list[Text]:
    rows = [_aged(row, frame) for row in model.backends]
    columns = list(columns_for(BACKENDS, frame.width))
    rates = Column("calls/s", "name", lambda row: _rate(model.rate(row["name"])))
    columns.insert(len(columns) - 1, rates)
    if frame.width >= SLOTS_LEAST:
        columns.insert(len(columns) - 1, Column("slots", "slots", lambda row: str(_slots(row)), words=True))
    header, *lines = _grid(columns, rows, frame.width - GAP)
    most = max(2, frame.height // BACKENDS_SHARE - 2)
    every = Text("all backends") if len(rows) > 1 else None
    named = [(row["name"], line) for row, line in zip(rows, lines, strict=True)]
    listed = [("", every), *named] if every is not None else named
    at = next((index for index, (name, _) in enumerate(listed) if name == model.backend), 0)
    first = _first(at, len(listed), most)
    shown = [
        _marked(line, name == model.backend, model.in_backends) for name, line in listed[first : first + most] if line
    ]
    more = len(listed) - len(shown)
    header.append(f"  and {more} more, ↑↓" if more else "", "dim")
    return [Text(" " * GAP).append_text(header), *shown]


def _rate(calls: float | None) -> str:
    return "–" if calls is None else f"{calls:.1f}" if 0 < calls < 10 else f"{calls:,.0f}"


def _slots(row: Row) -> Text:
    """The cap, slot by slot."""
    cap = max(row["cap"], sum(row[name] for name, _, _ in SLOTS))
    scale = min(1.0, SLOTS_MAX / cap)
    drawn = Text()
    for name, mark, style in SLOTS:
        drawn.append(mark * -int(-row[name] * scale // 1), style)
    return drawn.append("·" * max(0, min(cap, SLOTS_MAX) - len(drawn)), "dim")


# The pane


def _pane(model: Model, frame: Frame, room: int) -> list[Text]:
    rows = model.rows
    seen = max(1, room - 2)
    first = _first(model.row, len(rows), seen)
    columns = [column for column in columns_for(model.listing, frame.width) if not _is_said(column, model)]
    window = [_aged(row, frame) for row in rows[first : first + seen]]
    header, *lines = _grid(columns, window, frame.width - GAP, model)
    marked = [_marked(line, first + index == model.row, not model.in_backends) for index, line in enumerate(lines)]
    if not rows:
        marked = [Text(" " * GAP + model.listing.none, "dim")]
    return [_tabs(model), Text(" " * GAP).append_text(header), *marked]


def _is_said(column: Column, model: Model) -> bool:
    """Whether a column says in each row what is chosen above."""
    return column.key == "backend" and bool(model.backend)


def _tabs(model: Model) -> Text:
    line = Text()
    for index, title in enumerate(TITLES):
        if index:
            line.append("  ")
        line.append(f"{index + 1} {title}", "bold reverse" if index == model.pane else "")
        if count := _count(model, index):
            line.append(f" {_short(count)}")
    return line


def _short(count: int) -> str:
    return str(count) if count < 1000 else f"{count / 1000:.0f}k"


def _count(model: Model, pane: int) -> int:
    if not model.snapshot or model.backend:
        return len(model.rows_of(PANES[pane]))
    return PANES[pane].total(model.snapshot)


def _detail(model: Model) -> Text:
    """What the chosen row has no room for."""
    if model.question is not None:
        return Text(model.question.words, "bold red")
    if model.in_backends:
        states = [f"{row['name']}: {row['state']}" for row in model.backends if row["name"] == model.backend]
        return Text("".join(states), "dim")
    if (row := model.chosen) is None:
        return Text()
    known = (("request", "request_id"), ("by", "principal"), ("tag", "tag"), ("from", "source"), ("uses", "uses"))
    said = [f"{words} {row[key]}" for words, key in known if row.get(key)]
    place = f"{model.row + 1:,} of {len(model.rows):,}"
    if not model.backend and (more := model.listing.more(model.snapshot)) > 0:
        place += f", and {more:,} more"
    return Text("  ".join([place, *said]), "dim")


def _last_line(model: Model, frame: Frame) -> Text:
    if (question := model.question) is not None:
        if question.number:
            return Text(f"{question.typed}▏", "bold").append("   enter does it, escape does not", "dim")
        return Text("y does it, any other key does not", "bold")
    if model.message:
        return Text(model.message, "bold")
    if frame.fault or frame.quiet_seconds > STALE_SECONDS:
        return Text(f"no news for {frame.quiet_seconds:.0f} s: {frame.fault or 'no answer'}", "bold red")
    return Text(HINTS, "dim")


def _help() -> list[Text]:
    return [Text(f"  {keys:<13}").append(words) for keys, words in KEYS] + [Text(), Text("  any key goes back", "dim")]


# Rows on a grid


def _grid(columns: Sequence[Column], rows: Sequence[Row], width: int, model: Model | None = None) -> list[Text]:
    """A header and a line for each row."""
    cells = [[column.shown(row) for column in columns] for row in rows]
    titles = [column.title + _arrow(column, model) for column in columns]
    widths = _widths(columns, [titles, *cells], width)
    header = _line(columns, titles, widths)
    header.stylize("bold")
    return [header, *(_line(columns, row, widths, styled=True) for row in cells)]


def _arrow(column: Column, model: Model | None) -> str:
    if model is None or model.sorting.column is not column:
        return ""
    return "▼" if model.sorting.reverse else "▲"


def _widths(columns: Sequence[Column], lines: Sequence[Sequence[str]], width: int) -> list[int]:
    """As wide as they are; where that is too much, the widest of those that are words gives way."""
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    while (over := sum(widths) + GAP * (len(widths) - 1) - width) > 0:
        index = max((i for i, column in enumerate(columns) if column.words), key=lambda i: widths[i], default=None)
        if index is None or widths[index] <= WORDS_LEAST:
            break
        widths[index] = max(WORDS_LEAST, widths[index] - over, min(widths[index] - 1, _second(columns, widths, index)))
    return widths


def _second(columns: Sequence[Column], widths: Sequence[int], first: int) -> int:
    return max((widths[i] for i, column in enumerate(columns) if column.words and i != first), default=0)


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int], styled: bool = False) -> Text:
    line = Text()
    for index, (column, cell, width) in enumerate(zip(columns, cells, widths, strict=True)):
        text = cell if len(cell) <= width else cell[: width - 1] + "…"
        line.append(" " * GAP if index else "")
        line.append(text.ljust(width) if column.words else text.rjust(width), style_of(column, cell) if styled else "")
    return line


def _marked(line: Text, chosen: bool, in_focus: bool) -> Text:
    if chosen and in_focus:
        return Text(f"▸ {line.plain}", "reverse")
    return Text("▸ " if chosen else "  ").append_text(line)


def _first(at: int, total: int, seen: int) -> int:
    """Which row a window begins with that has this one in it, near its middle where there is a choice."""
    return max(0, min(at - seen // 2, total - seen))


def _aged(row: Row, frame: Frame) -> Row:
    """Ages go on between two snapshots."""
    return {key: value + 1000 * frame.quiet_seconds if key in AGES and value else value for key, value in row.items()}
