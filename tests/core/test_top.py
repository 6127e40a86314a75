"""`penstock top` without a terminal: what keys mean, what is asked before an order, and screens of any size."""

import io
from typing import Any

import pytest
from rich.console import Console

from pooler.ctl.top import keys
from pooler.ctl.top.model import PANES, Model, Order
from pooler.ctl.top.screen import Frame, draw
from pooler.service.admin_client import plain
from protos.penstock.v1 import admin_pb2 as pb


def snapshot(taken_at_ms: int = 1_700_000_000_000, calls: int = 100, waiting: int = 3, **orders: Any) -> dict[str, Any]:
    call = pb.ListedCall(
        request_id="r-1", tenant="shop", principal="anna", operation="find", since_ms=3250, state=pb.CALL_STATE_RUNNING
    )
    shown = pb.BackendSnapshot(
        backend=pb.Backend(**{"name": "orders", "cap": 4, "in_use": 1, "idle": 1, "serving": True, **orders}),
        connections=[
            pb.Connection(number=1, state=pb.CONNECTION_STATE_IN_USE, age_ms=90_000, uses=7, calls=[call]),
            pb.Connection(number=2, state=pb.CONNECTION_STATE_IDLE, age_ms=12_000),
        ],
        connections_total=2,
        waiting=[
            pb.ListedCall(request_id=f"w-{number}", tenant="reports", operation="list", since_ms=9000 - number)
            for number in range(waiting)
        ],
        waiting_total=waiting + 9_000,
    )
    shown.backend.calls_total = calls
    loans = pb.BackendSnapshot(backend=pb.Backend(name="loans", cap=2, failure="connection refused by the host"))
    held = pb.HeldConnection(
        name="5e55", backend="orders", tenant="shop", state="idle", connection=2, calls=4, kind=pb.HOLD_KIND_SESSION
    )
    return plain(
        pb.Snapshot(
            pooler="d6734ae4",
            taken_at_ms=taken_at_ms,
            backends=[loans, shown],
            sessions=[held],
            sessions_total=1,
            cache=pb.Cache(answers=3),
        )
    )


def model(*pressed: str, **facts: Any) -> Model:
    made = Model()
    made.take(snapshot(**facts))
    for key in pressed:
        assert made.press(key) is None
    return made


def lines(shown: Model, width: int = 80, height: int = 24, **facts: Any) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width, height=height, highlight=False)
    console.print(draw(shown, Frame(width, height, "127.0.0.1:7433", **facts)))
    return file.getvalue().split("\n")[:-1]


# What keys are


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (b"q", ["q"]),
        (b"\x1b[A\x1b[Bk", ["up", "down", "k"]),
        (b"\x1bOA", ["up"]),
        (b"\x1b[5~\x1b[6~\x1b[H\x1b[4~", ["page up", "page down", "home", "end"]),
        (b"\t\x1b[Z\r\x7f", ["tab", "back tab", "enter", "backspace"]),
        (b"\x1b", ["escape"]),
        (b"\x1b[1;5Cx", ["x"]),  # a key that is not known is none
        ("ü2".encode(), ["ü", "2"]),
        (b"\xff\x01q", ["q"]),
        (b"", []),
    ],
)
def test_what_a_terminal_sends_becomes_keys(typed: bytes, expected: list[str]) -> None:
    assert keys.decoded(typed) == expected


# Orders


@pytest.mark.promise(33)
@pytest.mark.parametrize(("key", "name"), [("p", "Pause"), ("r", "Resume"), ("d", "Drain"), ("x", "Retire")])
def test_an_order_is_asked_for_by_name_and_given_by_yes_alone(key: str, name: str) -> None:
    asked = model("down", "down", key)

    assert asked.question is not None
    assert "orders?" in asked.question.words
    assert asked.press("y") == Order(name, {"backend": "orders"}, f"{name.lower()} orders")
    assert asked.question is None


@pytest.mark.parametrize("answer", ["n", "q", "escape", "enter", "Y", "up", "k"])
def test_any_other_key_does_nothing_and_ends_nothing(answer: str) -> None:
    asked = model("down", "down", "p", answer)

    assert (asked.question, asked.message, asked.over) == (None, "nothing was done", False)


def test_without_a_chosen_backend_no_order_can_be_meant() -> None:
    asked = model("p")

    assert (asked.question, asked.message) == (None, "choose a backend first, with the arrows")


def test_a_cap_is_typed_corrected_and_given() -> None:
    asked = model("down", "down", "c", "1", "2", "x")
    assert asked.question is None  # a letter is no digit, and takes it back

    asked = model("down", "down", "c", "1", "2", "backspace", "6")
    assert asked.question is not None
    assert asked.question.words == "Cap of orders, now 4:"
    assert asked.press("enter") == Order("SetCap", {"backend": "orders", "cap": 16}, "cap orders 16")
    assert model("down", "down", "c", "enter").message == "nothing was done"


def test_the_chosen_call_is_killed_by_its_name_and_its_tenant() -> None:
    asked = model("tab", "k")

    assert asked.question is not None
    assert asked.question.words == "Kill the call r-1 (find of shop) on orders?"
    order = asked.press("y")
    assert order == Order("KillCall", {"backend": "orders", "request_id": "r-1", "tenant": "shop"}, "kill r-1")


def test_a_connection_is_killed_when_nobody_has_it_or_when_it_is_said_so() -> None:
    for pressed, number in ((("tab", "down", "k"), 2), (("tab", "K"), 1), (("4", "tab", "k"), 2)):
        order = model(*pressed).press("y")
        assert order == Order("KillConnection", {"backend": "orders", "number": number}, f"kill connection {number}")


def test_there_is_nothing_to_kill_among_tenants_runs_answers_and_changes() -> None:
    assert [model(pane, "tab", "k").question for pane in ("3", "5", "6", "7")] == [None] * 4


@pytest.mark.promise(33)
def test_what_was_asked_about_is_what_is_killed_whatever_has_moved_meanwhile() -> None:
    asked = model("2", "tab", "down", "k")
    asked.take(snapshot(waiting=1))

    order = asked.press("y")

    assert order is not None
    assert order.fields["request_id"] == "w-1"


# What is chosen and shown


def test_the_cursor_stays_on_what_was_chosen_when_the_rows_move() -> None:
    chosen = model("2", "tab", "down", "down")
    moved = snapshot()
    moved["backends"][1]["waiting"].reverse()

    chosen.take(moved)

    assert chosen.chosen is not None
    assert (chosen.chosen["request_id"], chosen.row) == ("w-2", 0)


def test_a_chosen_backend_shows_its_own_rows_and_one_that_has_gone_is_chosen_no_more() -> None:
    chosen = model("down")
    assert (chosen.backend, chosen.rows) == ("loans", [])

    gone = snapshot()
    del gone["backends"][0]
    chosen.take(gone)

    assert chosen.backend == ""
    assert len(chosen.rows) == 2


def test_rows_are_sorted_by_one_column_after_the_other_either_way() -> None:
    shown = model("2", "s", "s", "s", "s", "s")
    assert shown.sorting.column is not None
    assert shown.sorting.column.title == "waits s"
    assert [row["request_id"] for row in shown.rows] == ["w-0", "w-1", "w-2"]
    shown.press("o")
    assert [row["request_id"] for row in shown.rows] == ["w-2", "w-1", "w-0"]
    assert "waits s▲" in "\n".join(lines(shown))


def test_calls_a_second_are_counted_between_snapshots() -> None:
    shown = model()
    assert shown.rate("orders") is None
    shown.take(snapshot(taken_at_ms=1_700_000_002_000, calls=150))
    assert shown.rate("orders") == 25.0
    assert shown.rate("loans") == 0.0


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50), (40, 10), (120, 30), (81, 5)])
@pytest.mark.parametrize("pane", range(1, len(PANES) + 1))
def test_a_screen_has_as_many_lines_as_the_terminal_and_none_is_wider(width: int, height: int, pane: int) -> None:
    for pressed in ((str(pane),), (str(pane), "tab"), (str(pane), "?"), (str(pane), "down", "p")):
        drawn = lines(model(*pressed), width, height)
        assert len(drawn) == height
        assert max(map(len, drawn)) <= width


def test_eighty_columns_show_what_matters_of_each_backend_and_of_the_question() -> None:
    screen = "\n".join(lines(model("down", "down", "tab", "k")))

    for words in (
        "orders     4      0     1       1",
        "serving",
        "2 waiting 3",
        "r-1",
        "Kill the call r-1",
        "y does it",
    ):
        assert words in screen, screen


def test_why_a_backend_does_not_serve_is_told_in_full_when_it_is_chosen() -> None:
    assert "loans: not serving: connection refused by the host" in lines(model("down"))[-2]


def test_a_wide_screen_draws_the_cap_slot_by_slot() -> None:
    (line,) = [line for line in lines(model(), 160) if line.strip().startswith("orders") and "serving" in line]

    assert "█▒··" in line


def test_ages_go_on_between_snapshots_and_silence_is_told() -> None:
    shown = model()
    assert "3.25" in "\n".join(lines(shown))
    assert "5.25" in "\n".join(lines(shown, quiet_seconds=2.0))
    assert lines(shown, quiet_seconds=20.0)[-1] == "no news for 20 s: no answer"
    assert lines(shown, quiet_seconds=1, fault="no pooler answers")[-1] == "no news for 1 s: no pooler answers"


def test_a_long_list_says_how_much_of_it_is_seen_and_follows_the_cursor() -> None:
    shown = model("2", "tab", "end", waiting=200)
    drawn = lines(shown)

    assert drawn[-2].startswith("200 of 200, and 9,000 more")
    assert any(line.startswith("▸") and "w-199" in line for line in drawn)


def test_help_names_every_key_and_any_key_leaves_it() -> None:
    shown = model("?")
    text = "\n".join(lines(shown))

    assert all(words in text for words in ("pause the backend", "retire", "kill the chosen connection", "quit"))
    shown.press("q")
    assert (shown.help, shown.over) == (False, False)
    shown.press("q")
    assert shown.over
