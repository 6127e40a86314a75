"""What the command makes of its arguments, of log lines and of answers. Plain calls; starts nothing."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from pooler.ctl import frontend, paste, ports, probe
from pooler.ctl.call import arguments_of
from pooler.ctl.exits import Exit, exit_of
from pooler.ctl.supervisor import listening


def test_a_value_is_json_when_it_reads_as_json_and_else_a_text() -> None:
    values = ["a=7", 'b="7"', "c=seven", "d=true", "e=[1,2]", "f=x=y", "g=", "h=007", "i={"]

    assert arguments_of(values, None) == {
        "a": 7, "b": "7", "c": "seven", "d": True, "e": [1, 2], "f": "x=y", "g": "", "h": "007", "i": "{",
    }  # fmt: skip


def test_single_values_win_over_the_json_object() -> None:
    assert arguments_of(["a=2"], '{"a": 1, "b": 1}') == {"a": 2, "b": 1}


@pytest.mark.parametrize(("values", "whole"), [(["customer"], None), (["=x"], None), ([], "[1]"), ([], "{")])
def test_arguments_that_mean_nothing_are_a_usage_fault(values: list[str], whole: str | None) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments_of(values, whole)

    assert ended.value.code == Exit.USAGE


def test_every_status_that_a_call_can_end_with_has_an_exit_code_of_its_kind() -> None:
    statuses = ("FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "UNKNOWN", "INTERNAL")

    assert [int(exit_of(status)) for status in statuses] == [3, 4, 5, 6, 1]


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("2026-11-22T12:45:07Z [info     ] listening      address=127.0.0.1:41349 backends=1", "127.0.0.1:41349"),
        ("2026-11-22T12:45:08Z [info     ] listening [frontend.app] address=[::1]:8080", "[::1]:8080"),
        ('{"address": "unix:/run/p.sock", "backends": 1, "event": "listening", "level": "info"}', "unix:/run/p.sock"),
        ('{"address": "127.0.0.1:1", "event": "calling"}', None),
        ("{ listening address=no JSON", None),
        ("not yet", None),
    ],
)
def test_the_line_that_says_where_a_program_listens_is_read_in_either_form(line: str, address: str | None) -> None:
    assert listening(line).get("address") == address


def test_the_section_becomes_variables_and_one_that_is_set_already_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_FRONTEND_NAME", "mine")

    variables = frontend.environment(
        {"listen": "127.0.0.1:0", "name": "theirs", "calls_max": 7, "tokens": [{"token": "t"}], "instructions": None}
    )

    assert variables["PENSTOCK_FRONTEND_LISTEN"] == "127.0.0.1:0"
    assert variables["PENSTOCK_FRONTEND_CALLS_MAX"] == "7"
    assert json.loads(variables["PENSTOCK_FRONTEND_TOKENS"]) == [{"token": "t"}]
    assert variables["PENSTOCK_FRONTEND_NAME"] == "mine"
    assert "PENSTOCK_FRONTEND_INSTRUCTIONS" not in variables


def test_the_frontend_says_itself_what_is_wrong_with_its_section() -> None:
    found = frontend.faults({"listen": "nowhere", "calls_mx": 1})

    assert found is not None
    assert {fault.location for fault in found} == {("listen",), ("calls_mx",)}


def test_a_taken_port_is_replaced_by_a_free_one_on_the_same_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert ports.is_taken(address)

        other = ports.free_address(address)

    assert other != address
    assert other.startswith("127.0.0.1:")
    assert not ports.is_taken(other)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", '{"id": 1, "result": {"a": 1}}'),
        (
            "text/event-stream; charset=utf-8",
            ': ping\n\ndata: {"method": "progress"}\n\nevent: message\ndata: {"id": 1, "result": {"a": 1}}\n\n',
        ),
    ],
)
def test_an_answer_is_read_from_json_and_from_an_event_stream(content_type: str, body: str) -> None:
    assert probe.message_in(body, content_type) == {"id": 1, "result": {"a": 1}}


def test_a_stream_without_an_answer_is_no_answer() -> None:
    with pytest.raises(ValueError, match="ended without an answer"):
        probe.message_in(": ping\n\n", "text/event-stream")


def pasted(place: str, **keys: Any) -> dict[str, Any]:
    (text,) = [text for name, text in paste.snippets("http://127.0.0.1:8080/mcp", **keys) if place in name]
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def test_what_is_pasted_is_json_with_the_address_or_with_the_full_path_of_the_command() -> None:
    keys: dict[str, Any] = {"pooler": None, "config": None}

    assert pasted("Cursor", **keys) == {"mcpServers": {"penstock": {"url": "http://127.0.0.1:8080/mcp"}}}
    assert pasted("VS Code", **keys)["servers"]["penstock"]["type"] == "http"
    command = pasted("Claude Desktop", **keys)["mcpServers"]["penstock"]
    assert Path(command["command"]).is_file()
    assert command["args"] == ["frontend", "--stdio"]
    assert "env" not in command


def test_a_command_is_told_of_a_pooler_that_is_not_where_it_would_look(tmp_path: Path) -> None:
    command = pasted("Claude Desktop", pooler="127.0.0.1:9", config=tmp_path / "p.yaml")["mcpServers"]["penstock"]

    assert command["args"] == ["frontend", "--config", str(tmp_path / "p.yaml"), "--stdio"]
    assert command["env"] == {"PENSTOCK_FRONTEND_POOLER": "127.0.0.1:9"}
