"""Every module says what it is for, and none is called after nothing in particular."""

import ast
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.house.tree import committed, name, parsed, written_modules

EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}

PAUSES = {"tests/real/test_faults.py": 1}
"""Sleeps that are what is tested, by file: there a client's pause before it tries again."""


def test_every_module_opens_with_a_docstring() -> None:
    silent = [name(path) for path in written_modules() if path.stat().st_size and not ast.get_docstring(parsed(path))]

    assert silent == []


def test_no_file_is_called_after_nothing_in_particular() -> None:
    vague = [name(path) for path in committed() if EMPTY_NAMES & {*path.parts, path.stem}]

    assert vague == []


def test_every_test_is_named_by_a_sentence_about_behaviour() -> None:
    short = [
        f"{name(path)}::{node.name}"
        for path in written_modules()
        if path.name.startswith("test_")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and node.name.count("_") < 3
    ]

    assert short == []


def sleeps(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls of sleep outside of any `while`: inside one it is the pause of a poll, whose condition is awaited."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.While):
            continue
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep", "anyio.sleep"):
            yield node
        yield from sleeps(node)


def test_no_test_sleeps_to_be_on_the_safe_side() -> None:
    sleeping = Counter(
        name(path)
        for path in written_modules()
        if path.name.startswith("test_") and "tests.simulation" not in path.read_text("utf-8")  # whose time is virtual
        for call in sleeps(parsed(path))
        if ast.unparse(call.args[0]) not in ("0", "math.inf", "3600")  # a turn of the loop, and for ever
    )

    assert sleeping == PAUSES


@pytest.mark.parametrize("program", ["pooler.ctl.main", "pooler.config"])
def test_what_starts_often_imports_little(program: str) -> None:
    import subprocess
    import sys

    question = (
        f"import sys, {program}; print([m for m in ('grpc', 'mcp', 'sqlalchemy', 'psycopg') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=True).stdout

    assert answer.strip() == "[]"
