"""The frontend as another program: its section as environment variables, and its own judgement of them.

The frontend reads no file, so that there is one loader of configuration and not two that drift apart.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

PREFIX = "PENSTOCK_FRONTEND_"
COMMAND = (sys.executable, "-P", "-m", "frontend")
"""-P: a folder called `frontend` where the command is given must not be taken for ours."""
ANSWER_SECONDS = 60
"""A cold import of everything, on a slow and busy machine."""


@dataclass(frozen=True, slots=True)
class FrontendFault:
    """What the frontend found wrong with its settings, and where in its section."""

    location: tuple[str | int, ...]
    message: str


def environment(section: Mapping[str, Any]) -> dict[str, str]:
    """This process's environment with the section in it. A variable that is set already wins over the file."""
    variables = {f"{PREFIX}{key.upper()}": _encoded(value) for key, value in section.items() if value is not None}
    return variables | dict(os.environ)


def faults(section: Mapping[str, Any]) -> list[FrontendFault] | None:
    """What the frontend says about its section; None where it is not installed and cannot say anything."""
    status, lines = _ask("--check", environment(section))
    if status == 0:
        return []
    answers = [orjson.loads(line) for line in lines if line.startswith("{")]
    return [FrontendFault(tuple(answer["loc"]), answer["message"]) for answer in answers] or None


def schema() -> dict[str, Any] | None:
    """The JSON Schema of the section; None where the frontend is not installed."""
    status, lines = _ask("--schema", dict(os.environ))
    if status != 0:
        return None
    described: dict[str, Any] = orjson.loads("\n".join(lines))
    return described


def _ask(question: str, variables: Mapping[str, str]) -> tuple[int, list[str]]:
    done = subprocess.run(  # noqa: S603  # our own program
        [*COMMAND, question],
        env=variables,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=ANSWER_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


def _encoded(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
