"""Which tests show which promise, read from their marks as they stand in the source. Runs and imports no test.

A mark is `@pytest.mark.promise(NUMBER, …)` on a test, or the same in a module's `pytestmark` for all tests in it.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.behaviours.promises import PROMISES, Promise

ROOT = Path(__file__).resolve().parents[2]
PAGE = Path(__file__).with_name("README.md")
HEAD = """\
# What a pooler promises, and which tests show it

Made by `python -m tests.behaviours` from `promises.py` and the marks `@pytest.mark.promise(NUMBER)` on the tests, which
are the one source of truth. `pytest $(python -m tests.behaviours NUMBER)` runs the tests of one promise;
`python -m tests.mutations NUMBER` breaks it on purpose, to see that they notice.
"""


class MarkError(ValueError):
    """A mark that cannot be read: its numbers must stand there as they are."""


def shown(root: Path = ROOT) -> dict[int, list[str]]:
    """The tests of each promise, as pytest's node ids, in the order of their files."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted((root / "tests").rglob("test_*.py")):
        for number, node in _marks(path, path.relative_to(root).as_posix()):
            found[number].append(node)
    return dict(found)


def page(tests: dict[int, list[str]]) -> str:
    """The ledger for readers."""
    return "\n".join([HEAD, *(_row(promise, tests.get(promise.number, [])) for promise in PROMISES)])


def _row(promise: Promise, tests: list[str]) -> str:
    lines = [f"## {promise.number}. {promise.sentence}", "", f"*{promise.source}.*", ""]
    lines += [f"- `{test}`" for test in tests] or [f"planned, with {promise.planned}"]
    return "\n".join([*lines, ""])


def _marks(path: Path, name: str) -> Iterator[tuple[int, str]]:
    source = path.read_text("utf-8")
    if "mark.promise" not in source:
        return
    for node in ast.parse(source, filename=name).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="pytestmark")], value=value):
                marks, test = value.elts if isinstance(value, ast.List) else [value], name
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                marks, test = node.decorator_list, f"{name}::{node.name}"
            case _:
                continue
        for mark in marks:
            yield from ((number, test) for number in _numbers(mark, test))


def _numbers(mark: ast.expr, test: str) -> Iterator[int]:
    if not isinstance(mark, ast.Call) or ast.unparse(mark.func) != "pytest.mark.promise":
        return
    for argument in mark.args:
        if not isinstance(argument, ast.Constant) or not isinstance(argument.value, int):
            raise MarkError(f"{test}: write the numbers of its promises out, not {ast.unparse(argument)}")
        yield argument.value
