"""Slot files: what they say, what their lock tells, and what a pooler makes of those it finds."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pooler.backends.base import Tag
from pooler.runtime.slotfiles import Leftover, SlotFileError, SlotFiles

SLEEPER = (sys.executable, "-c", "import signal; signal.pause()")


def files(folder: Path, pooler: str = "cafe0001", backend: str = "loans") -> SlotFiles:
    return SlotFiles(folder, pooler, backend)


def facts(leftover: Leftover) -> tuple[object, ...]:
    return leftover.tag, leftover.kind, leftover.orphans, leftover.pid, leftover.born, dict(leftover.notes)


def test_a_slot_has_a_file_from_before_its_start_until_it_is_gone(tmp_path: Path) -> None:
    slots = files(tmp_path)
    assert slots.left() == []

    slots.take(7, "process", "processes")

    (left,) = slots.left()
    assert left.path == tmp_path / "loans" / "7"
    assert facts(left) == (Tag("cafe0001", "loans", 7), "process", "processes", None, None, {})
    slots.remove(7)
    assert slots.left() == []


def test_a_file_is_for_its_owners_eyes_only_and_says_since_when(tmp_path: Path) -> None:
    files(tmp_path).take(1, "postgres", "listed")

    path = tmp_path / "loans" / "1"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert json.loads(path.read_text())["since"].endswith("+00:00")


def test_what_is_noted_later_stands_in_the_file_too(tmp_path: Path) -> None:
    slots = files(tmp_path)
    file = slots.take(1, "process", "processes")
    file.led_by(os.getpid())
    file.note({"session": 42, "host": "somewhere"})
    file.note({"session": 43})

    (left,) = slots.left()
    assert (left.pid, left.notes) == (os.getpid(), {"session": 43})
    assert left.born is not None


def test_a_connection_that_was_closed_without_proof_tells_how_long_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = files(tmp_path)
    slots.take(1, "oracle", "unlisted")
    slots.take(2, "oracle", "unlisted").closed()
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    monkeypatch.setattr(time, "clock_gettime", lambda clock: now + 40)

    assert [left.closed_seconds for left in slots.left()] == [0.0, pytest.approx(40, abs=1)]


def test_how_long_ago_something_was_in_another_run_of_the_machine_nobody_knows(tmp_path: Path) -> None:
    slots = files(tmp_path)
    slots.take(1, "oracle", "unlisted").closed()
    path = tmp_path / "loans" / "1"
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "another", "closed_at": 0.0}))

    assert slots.left()[0].closed_seconds == 0.0


def test_a_lock_lives_as_long_as_any_process_that_inherited_it(tmp_path: Path) -> None:
    slots = files(tmp_path)
    file = slots.take(1, "process", "processes")
    child = subprocess.Popen(SLEEPER, pass_fds=[file.descriptor])
    other = subprocess.Popen(SLEEPER)  # descriptors go only to whom they are given
    try:
        (left,) = slots.left()
        slots.let_go()
        assert left.locked()
        child.kill()
        child.wait()
        assert not left.locked()
    finally:
        for process in (child, other):
            process.kill()
            process.wait()


def test_the_lock_of_a_pooler_that_has_ended_is_free_and_its_file_is_still_there(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from pooler.runtime.slotfiles import SlotFiles; "
        "SlotFiles(Path(sys.argv[1]), 'cafe0001', 'loans').take(3, 'postgres', 'listed')"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path], check=True)

    (left,) = files(tmp_path).left()
    assert left.tag == Tag("cafe0001", "loans", 3)
    assert not left.locked()
    left.remove()
    left.remove()
    assert files(tmp_path).left() == []


def test_what_is_let_go_stays_for_whoever_comes_next(tmp_path: Path) -> None:
    slots = files(tmp_path)
    slots.take(1, "postgres", "listed")
    assert slots.left()[0].locked()

    slots.let_go()

    assert not slots.left()[0].locked()
    slots.remove(1)
    assert [left.tag.slot for left in slots.left()] == [1]  # it is not ours any more


def test_slots_are_found_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    slots = files(tmp_path)
    for number in (10, 9, 100):
        slots.take(number, "postgres", "listed")

    assert [left.tag.slot for left in slots.left()] == [9, 10, 100]


BROKEN = {
    "empty": b"",
    "binary": b"\x00\xff",
    "cut": b'{"tag":"pen',
    "a list": b"[]",
    "wrong types": b'{"tag": 1}',
    "unknown words": b'{"tag":"t","kind":"k","orphans":"immortal","since":""}',
    "too long": b"x" * 9999,
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_counts_by_its_number_and_says_nothing_else(tmp_path: Path, content: bytes) -> None:
    slots = files(tmp_path)
    (tmp_path / "loans" / "5").write_bytes(content)

    (left,) = slots.left()

    assert facts(left) == (Tag("cafe0001", "loans", 5), None, None, None, None, {})
    assert not left.locked()


def test_what_is_no_slot_file_is_left_alone(tmp_path: Path) -> None:
    slots = files(tmp_path)
    folder = tmp_path / "loans"
    (folder / "README").write_text("hello")
    (folder / "0").write_text("{}")
    (folder / "007").write_text("{}")
    (folder / "8").mkdir()
    (folder / "9").symlink_to(folder / "README")

    assert slots.left() == []
    assert {path.name for path in folder.iterdir()} == {"README", "0", "007", "8", "9"}


def test_the_name_under_which_a_pooler_left_a_slot_is_kept(tmp_path: Path) -> None:
    """The folder may have lost it since, and taken another one."""
    files(tmp_path, pooler="0ld0ne").take(1, "postgres", "listed")

    assert files(tmp_path, pooler="cafe0002").left()[0].tag == Tag("0ld0ne", "loans", 1)


def test_a_tag_that_speaks_of_another_place_is_not_believed(tmp_path: Path) -> None:
    files(tmp_path, pooler="another", backend="orders").take(1, "postgres", "listed")
    slots = files(tmp_path)
    (tmp_path / "orders" / "1").rename(tmp_path / "loans" / "2")

    assert slots.left()[0].tag == Tag("cafe0001", "loans", 2)


def test_a_slot_whose_file_cannot_be_made_is_not_begun(tmp_path: Path) -> None:
    slots = files(tmp_path)
    (tmp_path / "loans" / "1").mkdir()

    with pytest.raises(SlotFileError, match="nothing may be started"):
        slots.take(1, "postgres", "listed")
    slots.remove(1)
    assert (tmp_path / "loans" / "1").is_dir()


def test_a_folder_that_cannot_be_made_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "loans").write_text("in the way")

    with pytest.raises(OSError, match="loans"):
        files(tmp_path)
