"""The record of orders: what is noted is there after a restart, whatever has happened to the file."""

import json
import stat
from pathlib import Path

import pytest

from pooler.runtime import record
from pooler.runtime.record import Actor, Change, Record

ANNA = Actor("anna", "ipv4:127.0.0.1:5")


def cap(after: int, backend: str = "orders") -> Change:
    return Change("set_cap", backend, "4", str(after), {})


def told(kept: Record, limit: int = 10, *backends: str) -> list[str]:
    return [entry.change.after for entry in kept.latest(limit, frozenset(backends))[0]]


@pytest.mark.promise(33)
def test_what_was_ordered_is_known_after_a_restart_with_who_when_and_from_where(tmp_path: Path) -> None:
    first = Record(tmp_path, lambda: 1_000.5)
    first.note(ANNA, Change("kill_call", "orders", "running", "killed", {"request": "r-1", "tenant": "shop"}))
    first.note(ANNA, cap(2))

    later = Record(tmp_path, lambda: 2_000.0)
    later.note(Actor("ben", "unix:admin.sock"), cap(3, "loans"))

    entries, total = later.latest(10)
    assert total == 3
    assert [(entry.at, entry.actor.who, entry.change.order) for entry in entries] == [
        (2_000.0, "ben", "set_cap"), (1_000.5, "anna", "set_cap"), (1_000.5, "anna", "kill_call"),
    ]  # fmt: skip
    assert entries[-1].change.facts == {"request": "r-1", "tenant": "shop"}
    assert entries[-1].actor == ANNA
    assert later.latest(10, frozenset({"orders"}))[1] == 2


def test_the_latest_come_first_as_many_as_are_wanted_and_it_is_said_how_many_there_are(tmp_path: Path) -> None:
    kept = Record(tmp_path, lambda: 0.0)
    for number in range(5):
        kept.note(ANNA, cap(number))

    assert (told(kept, 2), kept.latest(2)[1]) == (["4", "3"], 5)


def test_the_file_can_be_read_without_the_pooler_and_by_its_owner_alone(tmp_path: Path) -> None:
    Record(tmp_path, lambda: 7.0).note(ANNA, cap(2))

    file = tmp_path / "changes.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text()) == {
        "at": 7.0, "who": "anna", "source": "ipv4:127.0.0.1:5", "order": "set_cap", "backend": "orders",
        "before": "4", "after": "2", "facts": {},
    }  # fmt: skip


def test_a_line_that_was_torn_off_costs_nobody_but_itself(tmp_path: Path) -> None:
    Record(tmp_path, lambda: 0.0).note(ANNA, cap(1))
    file = tmp_path / "changes.jsonl"
    with file.open("a") as opened:
        opened.write('["no", "object"]\n{"at": 1, "who"')

    Record(tmp_path, lambda: 0.0).note(ANNA, cap(2))

    assert told(Record(tmp_path, lambda: 0.0)) == ["2", "1"]


def test_a_full_file_becomes_the_one_before_it_and_the_one_before_that_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "FILE_BYTES_MAX", 1000)
    kept = Record(tmp_path, lambda: 0.0)
    for number in range(100):
        kept.note(ANNA, cap(number))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["changes.1.jsonl", "changes.jsonl"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    after = told(Record(tmp_path, lambda: 0.0), 100)
    assert after == [str(number) for number in range(99, 99 - len(after), -1)]
    assert len(after) > 7  # more than one file holds
    assert len(told(kept, 100)) == 100


def test_what_is_known_is_bounded_and_the_oldest_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "KNOWN_MAX", 3)
    kept = Record(tmp_path, lambda: 0.0)
    for number in range(5):
        kept.note(ANNA, cap(number))

    assert told(kept) == told(Record(tmp_path, lambda: 0.0)) == ["4", "3", "2"]


def test_an_order_that_cannot_be_written_down_is_still_known_and_undone_by_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    kept = Record(folder, lambda: 0.0)
    folder.rmdir()

    kept.note(ANNA, cap(2))

    assert told(kept) == ["2"]
