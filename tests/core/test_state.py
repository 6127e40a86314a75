"""The state folder: one owner, one name, and a sentence when it cannot be used."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pooler.state import StateDir, StateDirError

TAKES = "import sys; from pathlib import Path; from pooler.state import StateDir; StateDir(Path(sys.argv[1])).take()"


def taken(path: Path) -> StateDir:
    state = StateDir(path)
    state.take()
    return state


def test_a_pooler_keeps_its_name_in_its_folder(tmp_path: Path) -> None:
    first = taken(tmp_path / "state")
    name = first.name
    first.release()

    assert taken(tmp_path / "state").name == name
    assert len(name) == 8
    assert (tmp_path / "state" / "pooler.id").stat().st_mode & 0o777 == 0o600


def test_two_folders_are_two_poolers(tmp_path: Path) -> None:
    assert taken(tmp_path / "one").name != taken(tmp_path / "other").name


@pytest.mark.parametrize("content", [b"", b"not a name\n", b"\xff\xfe", b"../../etc\n"])
def test_a_name_that_cannot_be_read_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pooler.id").write_bytes(content)

    name = taken(tmp_path).name

    assert (tmp_path / "pooler.id").read_text() == f"{name}\n"
    assert len(name) == 8


def test_a_pooler_that_was_killed_while_it_made_its_name_makes_another(tmp_path: Path) -> None:
    (tmp_path / "pooler.id.new").write_text("cut sho")

    assert len(taken(tmp_path).name) == 8
    assert not (tmp_path / "pooler.id.new").exists()


def test_the_folder_of_a_running_pooler_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    owner = taken(tmp_path)
    owner.slots("loans").take(1, "process", "processes")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    other = subprocess.run([sys.executable, "-c", TAKES, tmp_path], capture_output=True, text=True)

    assert "belongs to a running pooler" in other.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_backends_that_left_something_are_known_by_name(tmp_path: Path) -> None:
    state = taken(tmp_path)
    assert state.backends() == set()
    state.slots("loans")
    state.slots("orders").take(1, "postgres", "listed")

    assert state.backends() == {"loans", "orders"}


@pytest.mark.parametrize("in_the_way", ["state", "state/slots", "state/slots/loans"])
def test_a_folder_that_cannot_be_used_is_told_of_with_its_place(tmp_path: Path, in_the_way: str) -> None:
    path = tmp_path / in_the_way
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a file")

    with pytest.raises(StateDirError, match=r"state_dir .* cannot be used: .*let the pooler write there, or set"):
        taken(tmp_path / "state").slots("loans")


def test_a_folder_without_the_right_to_write_is_told_of_at_once() -> None:
    as_nobody = f"import os; import pooler.state; os.geteuid() or os.setuid(65534); {TAKES}"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)

        refused = subprocess.run([sys.executable, "-c", as_nobody, folder], capture_output=True, text=True)

    assert "cannot be used: Permission denied" in refused.stderr


def test_the_key_of_the_handles_is_made_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    first = taken(tmp_path)
    key = first.handle_key()
    first.release()

    assert taken(tmp_path).handle_key() == key
    assert len(key) == 32
    assert (tmp_path / "handle.key").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "handle.key.new").exists()


def test_two_folders_have_two_keys(tmp_path: Path) -> None:
    assert taken(tmp_path / "one").handle_key() != taken(tmp_path / "other").handle_key()


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_key_that_cannot_be_read_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "handle.key").write_bytes(content)

    key = taken(tmp_path).handle_key()

    assert (tmp_path / "handle.key").read_bytes() == key != content


def test_a_key_that_cannot_be_had_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "handle.key").mkdir()

    with pytest.raises(StateDirError, match=r"set pooler\.state_dir to a folder of its own"):
        taken(tmp_path).handle_key()
