"""What a DBA's listings make of a snapshot, what their tables leave out, and where the commands go."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pooler.ctl import reach, tables, units, views
from pooler.ctl.exits import Exit
from pooler.service.admin_client import plain
from protos.penstock.v1 import admin_pb2 as pb


def snapshot() -> dict[str, Any]:
    """Two backends, of which one is shared by two calls of one connection."""
    call = pb.ListedCall(
        request_id="r-1", tenant="shop", principal="anna", operation="find", since_ms=3250, state=pb.CALL_STATE_RUNNING
    )
    other = pb.ListedCall(request_id="r-2", tenant="shop", operation="find", since_ms=20, state=pb.CALL_STATE_RUNNING)
    orders = pb.BackendSnapshot(
        backend=pb.Backend(
            name="orders", kind="postgres", cap=4, reserve=1, in_use=1, idle=1, resetting=1, serving=True,
            waits=pb.Waits(granted=7, shed=2),
        ),
        connections=[
            pb.Connection(number=1, state=pb.CONNECTION_STATE_IN_USE, age_ms=90_000, calls=[call, other]),
            pb.Connection(number=2, state=pb.CONNECTION_STATE_IDLE, age_ms=12_000),
        ],
        connections_total=5,
        tenants=[pb.TenantQueue(tenant="shop", weight=3, waiting=2, shed=1)],
        tenants_total=1,
        waiting=[call],
        waiting_total=2,
    )  # fmt: skip
    loans = pb.BackendSnapshot(backend=pb.Backend(name="loans", cap=2, failure="connection refused"))
    change = pb.Change(at_ms=1_700_000_000_000, who="anna", order="set_cap", before="4", after="2", facts={"a": "b"})
    return plain(pb.Snapshot(backends=[loans, orders], changes=[change], changes_total=1))


def test_a_message_becomes_plain_values_with_every_field_and_names_for_enumerations() -> None:
    (_, orders) = snapshot()["backends"]

    assert orders["connections"][1]["state"] == "idle"
    assert orders["connections"][1]["calls"] == []
    assert orders["waiting"][0] == {
        "request_id": "r-1", "tenant": "shop", "principal": "anna", "operation": "find", "state": "running",
        "since_ms": 3250,
    }  # fmt: skip
    assert orders["backend"]["waits"]["shed"] == 2


def test_a_connection_that_several_share_is_a_row_for_each_of_them_and_counts_once() -> None:
    rows = views.CONNECTIONS.rows(snapshot())

    assert [(row["number"], row["request_id"], row["call_state"]) for row in rows] == [
        (1, "r-1", "running"), (1, "r-2", "running"), (2, "", ""),
    ]  # fmt: skip
    assert {row["backend"] for row in rows} == {"orders"}
    assert views.CONNECTIONS.more(snapshot()) == 3
    assert views.WAITING.more(snapshot()) == 1
    assert views.QUEUE.more(snapshot()) == 0


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"serving": True}, "serving"),
        ({"serving": True, "in_use": 5, "cap": 4}, "serving, 1 over its cap"),
        ({"serving": True, "paused": True}, "paused"),
        ({"serving": False, "refusing_calls": True, "in_use": 1}, "draining"),
        ({"serving": False, "refusing_calls": True}, "drained"),
        ({"serving": False, "refusing_calls": True, "paused": True}, "paused, and draining"),
        ({"serving": False, "failure": "connection refused"}, "not serving: connection refused"),
        ({"serving": False}, "not serving: its first start is under way"),
    ],
)
def test_how_a_backend_is_stands_in_a_few_words(changed: dict[str, Any], expected: str) -> None:
    assert views.state(plain(pb.Backend(**{"cap": 4, **changed}))) == expected


@pytest.mark.parametrize(
    ("ms", "expected"), [(0, "0.00"), (34, "0.034"), (3250, "3.25"), (42_000, "42.0"), (86_400_000, "86,400")]
)
def test_durations_are_told_in_seconds_as_exactly_as_anybody_needs(ms: int, expected: str) -> None:
    assert units.seconds(ms) == expected


def printed(listing: views.Listing, width: int | None) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width or 300, highlight=False)
    console.print(tables.table(listing, listing.rows(snapshot()), width))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_numbers_stand_to_the_right_under_headings_that_name_the_unit() -> None:
    header, first, *_ = printed(views.WAITING, None)

    assert header.split() == ["backend", "tenant", "principal", "operation", "waits", "s", "request"]
    assert header.index("waits s") + len("waits s") == first.index("3.25") + len("3.25")


def test_a_narrow_terminal_has_fewer_columns_and_cuts_none_of_those_that_it_has() -> None:
    wide, narrow = printed(views.CONNECTIONS, None), printed(views.CONNECTIONS, 80)

    assert "tag" in wide[0].split()
    assert not {"tag", "principal"} & set(narrow[0].split())
    assert all(len(line) <= 80 for line in narrow)
    assert "r-1" in narrow[1]
    assert "…" not in "".join(wide + narrow)


def test_a_long_word_is_folded_where_it_does_not_fit() -> None:
    lines = printed(views.POOLS, 80)

    assert "not serving: connection refused" not in lines[1]
    assert all(word in "".join(lines) for word in ("serving:", "connection", "refused"))


def test_a_change_says_what_was_before_and_after_and_which_one_was_meant() -> None:
    (row,) = views.CHANGES.rows(snapshot())

    assert views.about(row) == "4 → 2 (a b)"


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("{}", "127.0.0.1:7433"),
        ("{listen: '127.0.0.1:1'}", "127.0.0.1:1"),
        ("{listen: '127.0.0.1:1', admin: {listen: 'unix:a.sock', tokens: [{token: '${NOT_SET}'}]}}", "unix:a.sock"),
        ("{admin: {tokens: []}}", "127.0.0.1:7433"),
    ],
)
def test_the_address_is_found_in_a_configuration_of_which_nothing_else_can_be_read(
    tmp_path: Path, section: str, expected: str
) -> None:
    file = tmp_path / "penstock.yaml"
    file.write_text(f"pooler: {section}\nbackends: {{a: {{url: '${{NOT_SET_EITHER}}'}}}}\n")

    assert reach.reach(None, file, None, 5.0).address == expected
    assert reach.reach("127.0.0.1:9", file, None, 5.0).address == "127.0.0.1:9"


def test_an_address_that_cannot_be_filled_in_ends_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "penstock.yaml"
    file.write_text("pooler: {listen: '${NOT_SET}'}\n")

    with pytest.raises(SystemExit) as ended:
        reach.reach(None, file, None, 5.0)

    assert ended.value.code == Exit.FAILED
    assert "the environment has no NOT_SET" in capsys.readouterr().err


def test_a_token_comes_from_a_file_or_from_the_environment_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text("from-the-file-0123456789\n")
    monkeypatch.setenv(reach.TOKEN_VARIABLE, "from-the-environment-0123")

    by_file, by_environment = (reach.reach(None, None, given, 5.0) for given in (file, None))

    assert (by_file.token, by_environment.token) == ("from-the-file-0123456789", "from-the-environment-0123")
    assert "from-the" not in repr([by_file, by_environment])


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff\xfe", b"x" * 5000])
def test_a_file_that_holds_no_token_ends_the_command_without_being_quoted(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)

    with pytest.raises(SystemExit) as ended:
        reach.reach(None, None, file, 5.0)

    assert ended.value.code == Exit.USAGE
    assert str(file) in (said := capsys.readouterr().err)
    assert "words" not in said.replace("one word", "")
