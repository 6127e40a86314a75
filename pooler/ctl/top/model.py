"""What `penstock top` is at any moment, and what each key makes of it. Pure: no terminal, no pooler, no clock.

An order is never given by one key alone: it is asked for in words first, and a `y` or a number answers.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pooler.ctl import views
from pooler.ctl.views import Column, Listing, Row

PANES: tuple[Listing, ...] = (
    views.CONNECTIONS, views.WAITING, views.QUEUE, views.SESSIONS, views.RUNS, views.CACHE, views.CHANGES,
)  # fmt: skip
TITLES = ("conns", "waiting", "tenants", "sessions", "runs", "cache", "changes")
BACKENDS = views.POOLS
RATE_SECONDS = 3.0
"""Calls a second are told over about so long."""
CAP_DIGITS = 7
ORDERS = {"p": ("Pause", "Pause"), "r": ("Resume", "Resume"), "d": ("Drain", "Drain"), "x": ("Retire", "Retire all of")}
PAGE = 10


@dataclass(frozen=True, slots=True)
class Order:
    """Something to be carried out: its name on the wire, its fields, and what it is called when it is done."""

    name: str
    fields: Mapping[str, Any]
    words: str


@dataclass(slots=True)
class Question:
    """What is asked before anything happens. `number`: whether a number answers it; else `y` does."""

    words: str
    answer: Callable[[str], Order | None]
    number: bool = False
    typed: str = ""


@dataclass(slots=True)
class Sorting:
    """By which column a pane is sorted. None: as the pooler sends it."""

    column: Column | None = None
    reverse: bool = False


def _name(row: Row) -> tuple[Any, ...]:
    """What a row is known by from one snapshot to the next."""
    return tuple(row.get(key) for key in ("backend", "number", "request_id", "name", "tenant", "operation", "at_ms"))


@dataclass(slots=True)
class Model:
    """Everything that is shown, and nothing that is needed to get it."""

    pane: int = 0
    in_backends: bool = True
    """Whether the arrows move among the backends, and else among the rows of the pane."""
    help: bool = False
    over: bool = False
    backend: str = ""
    """The chosen one, whose rows are shown; empty: all of them."""
    row: int = 0
    message: str = ""
    question: Question | None = None
    snapshot: Mapping[str, Any] = field(default_factory=dict)
    _sortings: dict[int, Sorting] = field(default_factory=dict)
    _calls: "deque[tuple[int, dict[str, int]]]" = field(default_factory=lambda: deque(maxlen=40))

    # What is seen

    def take(self, snapshot: Mapping[str, Any]) -> None:
        """A new snapshot. What was chosen stays chosen as long as it is there, wherever it has moved."""
        chosen = None if self.chosen is None else _name(self.chosen)
        self.snapshot = snapshot
        totals = {row["name"]: row["calls_total"] for row in self.backends}
        self._calls.append((snapshot["taken_at_ms"], totals))
        if self.backend and self.backend not in totals:
            self.backend = ""
        names = [_name(row) for row in self.rows]
        self.row = names.index(chosen) if chosen in names else max(0, min(self.row, len(names) - 1))

    @property
    def listing(self) -> Listing:
        return PANES[self.pane]

    @property
    def sorting(self) -> Sorting:
        return self._sortings.setdefault(self.pane, Sorting())

    @property
    def backends(self) -> list[Row]:
        return views.backends(self.snapshot) if self.snapshot else []

    @property
    def rows(self) -> list[Row]:
        """The pane's rows, of the chosen backend and in the chosen order."""
        return self.rows_of(self.listing, self.sorting)

    def rows_of(self, listing: Listing, sorting: Sorting | None = None) -> list[Row]:
        """The same of any pane."""
        rows = listing.rows(self.snapshot) if self.snapshot else []
        chosen = [row for row in rows if not self.backend or row.get("backend", self.backend) in (self.backend, "")]
        if sorting is not None and sorting.column is not None:
            chosen.sort(key=sorting.column.order, reverse=sorting.reverse)
        return chosen

    @property
    def chosen(self) -> Row | None:
        """The row under the cursor."""
        rows = self.rows
        return rows[self.row] if self.row < len(rows) else None

    def rate(self, backend: str) -> float | None:
        """Calls a second; None before anybody can say."""
        if not self._calls:
            return None
        now, totals = self._calls[-1]
        for then, before in self._calls:
            if now - then <= 1000 * RATE_SECONDS and then < now and backend in before:
                return max(0.0, 1000 * (totals.get(backend, 0) - before[backend]) / (now - then))
        return None

    # Keys

    def press(self, key: str) -> Order | None:
        """A key. Returns what is to be carried out because of it, if anything."""
        if self.question is not None:
            return self._answer(self.question, key)
        if self.help:
            self.help = False
            return None
        self.message = ""
        if key in ("q", "escape"):
            self.over = True
        elif key == "?":
            self.help = True
        elif key.isdigit() and 0 < int(key) <= len(PANES):
            self._show(int(key) - 1)
        elif key in ("left", "right"):
            self._show((self.pane + (1 if key == "right" else -1)) % len(PANES))
        elif key in ("tab", "back tab", "enter"):
            self.in_backends = not self.in_backends
        elif key in ("up", "down", "page up", "page down", "home", "end"):
            self._move(key)
        elif key in ("s", "o"):
            self._sort(key)
        else:
            self._order(key)
        return None

    def _show(self, pane: int) -> None:
        self.pane, self.row = pane, 0

    def _move(self, key: str) -> None:
        steps = {"up": -1, "down": 1, "page up": -PAGE, "page down": PAGE, "home": -(1 << 30), "end": 1 << 30}[key]
        if not self.in_backends:
            self.row = max(0, min(self.row + steps, len(self.rows) - 1))
            return
        names = ["", *(row["name"] for row in self.backends)]
        self.backend = names[max(0, min(names.index(self.backend) + steps, len(names) - 1))]
        self.row = 0

    def _sort(self, key: str) -> None:
        sorting, columns = self.sorting, [None, *self.listing.columns]
        if key == "o":
            sorting.reverse = not sorting.reverse
            return
        sorting.column = columns[(columns.index(sorting.column) + 1) % len(columns)]
        sorting.reverse = sorting.column is not None and not sorting.column.words  # the most first
        self.row = 0

    # Orders

    def _order(self, key: str) -> None:
        if key in ("k", "K"):
            self.question = self._kill(whole=key == "K")
        elif key in ORDERS or key == "c":
            if not (backend := self._meant()):
                self.message = "choose a backend first, with the arrows"
            elif key == "c":
                self.question = self._cap(backend)
            else:
                name, words = ORDERS[key]
                order = Order(name, {"backend": backend}, f"{name.lower()} {backend}")
                self.question = Question(f"{words} {backend}?", lambda _: order)

    def _meant(self) -> str:
        """The chosen backend; the only one, where there is one."""
        backends = self.backends
        return self.backend or (str(backends[0]["name"]) if len(backends) == 1 else "")

    def _cap(self, backend: str) -> Question:
        (now,) = [row["cap"] for row in self.backends if row["name"] == backend]

        def answer(typed: str) -> Order | None:
            return Order("SetCap", {"backend": backend, "cap": int(typed)}, f"cap {backend} {typed}") if typed else None

        return Question(f"Cap of {backend}, now {now}:", answer, number=True)

    def _kill(self, whole: bool) -> Question | None:
        """`whole`: the connection, and not the call on it."""
        row = self.chosen
        if row is None or self.listing not in (views.CONNECTIONS, views.WAITING, views.SESSIONS):
            self.message = "nothing to kill here: choose a connection, a waiting call or a session"
            return None
        backend = row["backend"]
        if row.get("request_id") and not (whole and "number" in row):
            fields = {"backend": backend, "request_id": row["request_id"], "tenant": row["tenant"]}
            order = Order("KillCall", fields, f"kill {row['request_id']}")
            words = f"Kill the call {row['request_id']} ({row['operation']} of {row['tenant']}) on {backend}?"
        else:
            number = row["connection"] if self.listing is views.SESSIONS else row["number"]
            if not number:
                self.message = "it has no connection yet"
                return None
            order = Order("KillConnection", {"backend": backend, "number": number}, f"kill connection {number}")
            words = f"Kill connection {number} of {backend} ({row['state']})?"
        return Question(words, lambda _: order)

    def _answer(self, question: Question, key: str) -> Order | None:
        if question.number and key.isdigit() and key.isascii():
            question.typed = (question.typed + key)[:CAP_DIGITS]
            return None
        if question.number and key == "backspace":
            question.typed = question.typed[:-1]
            return None
        self.question = None
        if key == ("enter" if question.number else "y") and (order := question.answer(question.typed)) is not None:
            return order
        self.message = "nothing was done"
        return None
