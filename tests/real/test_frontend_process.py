"""The frontend as a process: its command line, its standard streams, its end."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client

from tests.interaction.line import SIMULATED
from tests.programs import Frontend, Pooler
from tests.real.mcp_http import call_tool
from tests.real.test_faults import backend_of, eventually

PATIENCE_SECONDS = 60


@pytest.fixture
def pooler(tmp_path: Path) -> Iterator[Pooler]:
    with Pooler(tmp_path, SIMULATED) as program:
        yield program


def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_FRONTEND_")}
    return subprocess.run(
        [sys.executable, "-m", "frontend", *arguments],
        env=environment | {f"PENSTOCK_FRONTEND_{key}": value for key, value in variables.items()},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


def test_sound_settings_pass_the_check_without_a_word() -> None:
    done = run("--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_check_prints_every_fault_as_a_line_of_json_with_its_place() -> None:
    done = run("--check", LISTEN="x", TOKENS='[{"token": "short"}]', NAM="y")
    places = {tuple(json.loads(line)["loc"]) for line in done.stdout.splitlines()}
    assert (done.returncode, places) == (1, {("listen",), ("tokens", 0, "token"), ("nam",)})


def test_faulty_settings_start_nothing_and_are_named_in_words() -> None:
    done = run(LISTEN="x")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("frontend: listen: must be HOST:PORT")


def test_the_schema_describes_the_settings() -> None:
    done = run("--schema")
    assert done.returncode == 0
    assert "listen" in json.loads(done.stdout)["properties"]


def test_an_address_that_is_taken_is_said_in_one_sentence(pooler: Pooler) -> None:
    with Frontend(pooler.address) as first:
        done = run(LISTEN=first.address)
    assert done.returncode == 3
    assert "address already in use" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_a_desktop_client_is_served_on_standard_input_and_output(pooler: Pooler, mode: str) -> None:
    variables = {"PENSTOCK_FRONTEND_POOLER": pooler.address, "PENSTOCK_FRONTEND_PRINCIPAL": "desk"}
    parameters = StdioServerParameters(command=sys.executable, args=["-m", "frontend", "--stdio"], env=variables)
    async with Client(stdio_client(parameters), mode=mode) as client:
        assert "echo" in [tool.name for tool in (await client.list_tools()).tools]
        result = await client.call_tool("echo", {"value": "x"})
        assert result.structured_content == {"result": "x"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_frontend_that_is_asked_to_stop_answers_what_is_under_way_and_ends_well(
    pooler: Pooler, number: signal.Signals
) -> None:
    with Frontend(pooler.address) as frontend, ThreadPoolExecutor() as threads:
        call_tool(frontend.url, "echo", {"value": "x"})
        calling = threads.submit(call_tool, frontend.url, "work", {"seconds": 1})
        eventually(1, lambda: backend_of(pooler, "sim").in_use)
        frontend.signal(number)
        assert calling.result(PATIENCE_SECONDS)["structuredContent"] == {"result": "done"}
        assert frontend.process.wait(PATIENCE_SECONDS) == 0


def test_the_entry_for_other_hosts_is_an_asgi_application(pooler: Pooler) -> None:
    command = [sys.executable, "-m", "uvicorn", "--port", "0", "frontend.entry.asgi:app"]
    environment = os.environ | {"PENSTOCK_FRONTEND_POOLER": pooler.address}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as host:
        assert host.stderr is not None
        try:
            running = next(found for line in host.stderr if (found := re.search(r"running on (http://\S+)", line)))
            result = call_tool(f"{running[1]}/mcp", "echo", {"value": "x"})
        finally:
            host.terminate()
    assert result["structuredContent"] == {"result": "x"}
