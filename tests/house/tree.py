"""What is committed, for the tests of this folder: the files as git lists them. Judges nothing."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GENERATED = "protos/penstock/"
PROGRAMS = ("frontend/", "pooler/", "protos/")


@cache
def committed() -> tuple[Path, ...]:
    """Every file that git keeps, or would keep with the next `git add`."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = sorted({ROOT / name for name in listed.split("\0") if name})
    return tuple(path for path in paths if path.is_file())


def name(path: Path) -> str:
    """A file as people call it, from the root."""
    return path.relative_to(ROOT).as_posix()


def written_modules() -> list[Path]:
    """Python files that somebody wrote."""
    return [path for path in committed() if path.suffix == ".py" and not name(path).startswith(GENERATED)]


def parsed(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(path.read_text("utf-8"), filename=name(path))


def functions(module: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function in a module, methods and inner ones included."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """A function's lines, from `def` to its last one."""
    return (node.end_lineno or node.lineno) - node.lineno + 1
