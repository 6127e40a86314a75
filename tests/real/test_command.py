"""The `penstock` command as its users run it: processes, a demo, exit codes, signals."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.programs import Pooler
from tests.real.mcp_http import call_tool

PENSTOCK = str(Path(sys.executable).parent / "penstock")
PATIENCE_SECONDS = 60.0

SIMULATED: dict[str, Any] = {
    "backends": {"legacy": {"kind": "simulated", "pool": {"cap": 2, "warm": 1}}},
    "operations": {
        "echo": {
            "backend": "legacy",
            "method": "echo",
            "arguments": {"value": {"type": "string"}},
            "effect": "read",
        },
        "work": {
            "backend": "legacy",
            "method": "work",
            "arguments": {"seconds": {"type": "number"}},
            "effect": "read",
        },
        "wrong": {"backend": "legacy", "method": "wrong", "effect": "read"},
    },
}


def penstock(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PENSTOCK, *arguments], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_SECONDS)


class Up:
    """A running `penstock up`, whose output is kept as it comes."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        self.output: list[str] = []
        self._said = threading.Condition()
        self.process = subprocess.Popen(
            [PENSTOCK, "up", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        return "".join(self.output)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._said:
                self.output.append(line)
                self._said.notify_all()
        with self._said:
            self.output.append("")
            self._said.notify_all()

    def await_words(self, pattern: str) -> re.Match[str]:
        """The first place where the output says this; fails with all of it when it never does."""
        with self._said:
            self._said.wait_for(
                lambda: re.search(pattern, self.text) or not self._reader.is_alive(), timeout=PATIENCE_SECONDS
            )
        found = re.search(pattern, self.text)
        assert found, f"never said {pattern!r}:\n{self.text}"
        return found

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        return status


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Up]]:
    """What a test starts; ended with its children when the test has not done so."""
    ups: list[Up] = []
    yield ups
    for up in ups:
        if up.process.poll() is None:
            children = psutil.Process(up.process.pid).children(recursive=True)
            up.process.kill()
            for child in children:
                child.kill()


def written(folder: Path, **changes: Any) -> Path:
    file = folder / "own.yaml"
    own = {
        "pooler": {"listen": "127.0.0.1:0", "http": "127.0.0.1:0", "state_dir": str(folder / "state")},
        "frontend": {"listen": "127.0.0.1:0"},
    }
    file.write_text(yaml.safe_dump(own | SIMULATED | changes), "utf-8")
    return file


def test_the_demo_calls_through_the_whole_line_and_leaves_nothing_behind(tmp_path: Path, started: list[Up]) -> None:
    up = Up(folder=tmp_path)
    started.append(up)

    where = up.await_words(r"MCP is at (\S+/mcp); the pooler's gRPC at (\S+)\. Ctrl-C")
    up.await_words(r'"--stdio"')
    children = psutil.Process(up.process.pid).children(recursive=True)

    assert re.search(r"a first call, loan_balance loan=L-1001:\n  \{.*\"holder\"", up.text)
    assert re.search(r"queue +start +reset +backend +wire +all", up.text)
    assert len(children) >= 3  # the pooler, its worker, the frontend
    assert list(tmp_path.glob("penstock-demo-*/orders.db"))

    orders = call_tool(where[1], "find_orders", {"customer": "CODK0002"})
    assert orders["structuredContent"]["columns"] == ["id", "placed_on", "status", "total"]
    assert orders["structuredContent"]["row_count"] == 50
    assert orders["structuredContent"]["next_cursor"].startswith("cursor.")

    balance = penstock("call", "loan_balance", "loan=L-1002", "--pooler", where[2])
    assert json.loads(balance.stdout)["loan"] == "L-1002"
    assert re.fullmatch(r"queue .* ms, start .* ms, reset .* ms, backend .* ms\n", balance.stderr)

    state = {each["name"]: each for each in json.loads(penstock("pools", "--json", "--pooler", where[2]).stdout)}
    assert {name: each["cap"] for name, each in state.items()} == {"loans": 2, "orders": 4}
    assert state["loans"]["start_ms"] > 1000

    assert up.end(signal.SIGINT) == 0
    assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
    assert list(tmp_path.glob("penstock-demo-*")) == []


def test_two_demos_run_side_by_side(tmp_path: Path, started: list[Up]) -> None:
    first, second = Up(folder=tmp_path), None
    started.append(first)
    one = first.await_words(r"MCP is at (\S+/mcp)")
    second = Up(folder=tmp_path)
    started.append(second)
    other = second.await_words(r"MCP is at (\S+/mcp)")

    assert one[1] != other[1]
    assert [up.end(signal.SIGTERM) for up in (first, second)] == [0, 0]


def test_a_configuration_of_ones_own_is_proven_without_touching_its_data(tmp_path: Path, started: list[Up]) -> None:
    up = Up("--config", str(written(tmp_path)), folder=tmp_path)
    started.append(up)

    where = up.await_words(r"MCP is at (\S+/mcp); the pooler's gRPC at (\S+)\. Ctrl-C")

    assert "MCP clients see 3 tools: echo, work, wrong" in up.text
    assert call_tool(where[1], "echo", {"value": "hello"})["structuredContent"] == {"result": "hello"}
    (state,) = json.loads(penstock("pools", "--json", "--pooler", where[2]).stdout)
    assert state["calls_total"] == 1
    assert up.end(signal.SIGTERM) == 0


def test_a_plane_for_administrators_alone_is_found_by_the_program_that_has_started_it(
    tmp_path: Path, started: list[Up], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_TEST_TOKEN", "annas-token-0123456789")
    admin = {"listen": "127.0.0.1:0", "tokens": [{"name": "anna", "token": "${PENSTOCK_TEST_TOKEN}"}]}
    own = {"listen": "127.0.0.1:0", "http": "127.0.0.1:0", "state_dir": str(tmp_path / "state"), "admin": admin}
    up = Up("--config", str(written(tmp_path, pooler=own)), folder=tmp_path)
    started.append(up)

    up.await_words(r"warm after .* s: legacy 1 of 2 connections")
    up.await_words(r"Ctrl-C ends both")

    assert up.end(signal.SIGTERM) == 0


def test_a_port_in_use_is_named_with_the_key_to_change(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = penstock("up", "--config", str(written(tmp_path, frontend={"listen": address})))

    assert done.returncode == 1
    assert done.stderr.startswith(f"{address} is in use: stop what listens there, or change frontend.listen in ")


def test_a_program_that_dies_at_the_start_ends_the_other_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("no folder")
    pooler = {"listen": "127.0.0.1:0", "http": "127.0.0.1:0", "state_dir": str(tmp_path / "a-file")}

    done = penstock("up", "--config", str(written(tmp_path, pooler=pooler)))

    assert done.returncode == 1
    assert "the pooler ended with status 1 before it was ready; its last lines are above" in done.stderr


def test_a_program_that_is_killed_ends_the_other_and_the_command(tmp_path: Path, started: list[Up]) -> None:
    up = Up("--config", str(written(tmp_path)), folder=tmp_path)
    started.append(up)
    up.await_words(r"Ctrl-C ends both")
    (frontend,) = [child for child in psutil.Process(up.process.pid).children() if "frontend" in child.cmdline()]

    frontend.kill()

    assert up.process.wait(PATIENCE_SECONDS) == 1
    up.await_words("the frontend was killed by signal 9 by itself")


def test_up_refuses_a_faulty_configuration_with_all_of_its_faults(tmp_path: Path) -> None:
    file = written(tmp_path, frontend={"listen": "nowhere"}, prompts={"p": {}})

    done = penstock("up", "--config", str(file))

    assert done.returncode == 1
    assert "frontend.listen: must be HOST:PORT" in done.stderr
    assert "prompts.p: needs either a `text` or an `operation`" in done.stderr


def test_check_tells_the_faults_of_both_programs_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "penstock.yaml"
    file.write_text(
        "frontend:\n  listen: nowhere\n  alowed_hosts: []\nbackends:\n  legacy: {kind: simulated, pool: {cap: 0}}\n",
        "utf-8",
    )

    done = penstock("check", folder=tmp_path)

    assert done.returncode == 1
    assert [line.partition(": ")[0] for line in done.stderr.splitlines()] == [
        "penstock.yaml:2:11 frontend.listen",
        "penstock.yaml:3:17 frontend.alowed_hosts",
        "penstock.yaml:5:41 backends.legacy.pool.cap",
        "penstock.yaml",
    ]


def test_a_call_ends_with_a_status_that_a_script_can_use(tmp_path: Path) -> None:
    with Pooler(tmp_path, SIMULATED) as pooler:
        at = ("--pooler", pooler.address)
        fine = penstock("call", "echo", "value=hello", *at)
        text = penstock("call", "echo", "--json", '{"value": "7"}', *at)
        ends = {
            "unknown": penstock("call", "nothing", *at),
            "unfit": penstock("call", "echo", "value=7", *at),
            "refused": penstock("call", "wrong", *at),
            "slow": penstock("call", "work", "seconds=30", "--timeout", "0.3", *at),
        }
    gone = penstock("call", "echo", "value=hello", *at)

    assert (fine.returncode, fine.stdout) == (0, '{"result":"hello"}\n')
    assert (text.returncode, text.stdout) == (0, '{"result":"7"}\n')
    assert {name: done.returncode for name, done in ends.items()} == {
        "unknown": 3, "unfit": 3, "refused": 3, "slow": 5,
    }  # fmt: skip
    assert all(done.stdout == "" and len(done.stderr.splitlines()) == 1 for done in ends.values())
    assert ends["slow"].stderr.startswith("WORK_TIMEOUT: ")
    assert (gone.returncode, gone.stderr) == (
        4,
        f"UNAVAILABLE: no pooler answers at {pooler.address}; start one with `penstock pooler`, or name its address\n",
    )


def test_pools_shows_a_table_that_is_never_cut(tmp_path: Path) -> None:
    with Pooler(tmp_path, SIMULATED) as pooler:
        done = penstock("pools", "--pooler", pooler.address)

    header, row = done.stdout.splitlines()
    assert header.split() == [
        "backend", "kind", "cap", "start", "idle", "in", "use", "end", "queue", "oldest", "s", "calls", "start", "s",
        "state",
    ]  # fmt: skip
    assert row.split()[:3] == ["legacy", "simulated", "2"]


def test_the_version_is_the_packages_own() -> None:
    from importlib.metadata import version

    assert penstock("--version").stdout == f"penstock {version('penstock')}\n"
