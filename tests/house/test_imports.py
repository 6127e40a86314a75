"""The architecture: imports point one way. The contracts stand in pyproject.toml; this runs them."""

import sys
from itertools import permutations
from pathlib import Path
from subprocess import run

import grimp
import pytest

from pooler.backends.registry import KINDS
from tests.house.tree import ROOT, name, parsed


def test_every_contract_is_kept() -> None:
    beside = Path(sys.executable).parent / "lint-imports"
    done = run([beside], cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("pooler", "frontend", "protos", cache_dir=None)


def test_the_kinds_of_backend_do_not_know_each_other(graph: grimp.ImportGraph) -> None:
    packages = [f"pooler.backends.{kind}" for kind in KINDS]

    known = [(one, other) for one, other in permutations(packages, 2) if graph.find_shortest_chains(one, other)]

    assert known == []


def test_every_kind_has_the_same_parts(graph: grimp.ImportGraph) -> None:
    parts = {"settings", "adapter", "connection", "classify"}

    for kind in KINDS:
        package = f"pooler.backends.{kind}"
        assert parts <= {child.removeprefix(f"{package}.") for child in graph.find_children(package)}


def test_nothing_imports_the_tests() -> None:
    import ast

    importing = [
        name(path)
        for program in ("frontend", "pooler", "protos")
        for path in (ROOT / program).rglob("*.py")
        for node in ast.walk(parsed(path))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tests")
        or (isinstance(node, ast.Import) and any(alias.name.partition(".")[0] == "tests" for alias in node.names))
    ]

    assert importing == []
