"""What waits, waits by a clock that cannot be set: nothing that decides or acts reads the wall clock."""

import ast
from pathlib import Path

import pytest

from tests.house.tree import ROOT, name, parsed

ROOMS = ("core", "runtime", "backends", "service")
WALL_CLOCKS = {
    *(f"time.{reading}" for reading in ("time", "time_ns", "localtime", "gmtime", "ctime", "strftime")),
    *(f"{kind}.{reading}" for kind in ("datetime", "datetime.datetime") for reading in ("now", "utcnow", "today")),
    *("date.today", "datetime.date.today"),
}
NOTES = {"pooler/runtime/slotfiles.py": ["datetime.now"]}
"""Readings that are written down for people, and that nothing waits for or compares."""


def readings(tree: ast.Module) -> list[str]:
    """Where a module reads the wall clock, by whatever name it has imported it."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in WALL_CLOCKS:
            found.append(ast.unparse(node))
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            found += [f"time.{alias.name}" for alias in node.names if f"time.{alias.name}" in WALL_CLOCKS]
    return found


def modules() -> list[Path]:
    return [ROOT / "pooler" / "clock.py", *(path for room in ROOMS for path in (ROOT / "pooler" / room).rglob("*.py"))]


@pytest.mark.promise(36)
def test_nothing_that_decides_or_acts_reads_the_wall_clock() -> None:
    assert {name(path): read for path in modules() if (read := readings(parsed(path)))} == NOTES


@pytest.mark.parametrize(
    "line",
    ["from time import time as monotonic", "import time; time.time()", "import datetime; datetime.datetime.now()"],
)
def test_a_reading_is_found_however_it_is_written(line: str) -> None:
    assert readings(ast.parse(line))
