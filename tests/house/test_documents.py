"""The documents are true: what the README shows can be run, what it links to is there, its tables are the code's."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from pooler.backends import values
from pooler.config.schema import file_schema
from pooler.ctl import frontend
from tests.house.tree import ROOT, committed, name

README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "tests/README.md")

_WALK_THROUGH = re.compile(r"<!-- penstock\.yaml -->\n```yaml\n(.*?)```", re.DOTALL)
_RUNNABLE = re.compile(r"<!-- run: (.*?) -->\n```sh\n(.*?)```", re.DOTALL)
_LINK = re.compile(r"\]\(([^)#]+)\)")


def walk_through() -> str:
    (text,) = _WALK_THROUGH.findall(README)
    return str(text)


def commands() -> list[tuple[str, str]]:
    return [(variables, line) for variables, block in _RUNNABLE.findall(README) for line in block.splitlines() if line]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_customary_documents_are_there(document: str) -> None:
    assert (ROOT / document).stat().st_size > 500


def test_the_readme_has_a_walk_through_and_commands_to_run() -> None:
    assert "backends:" in walk_through()
    assert len(commands()) == 3


@pytest.mark.parametrize(("variables", "line"), commands(), ids=[line.split("#")[0].strip() for _, line in commands()])
def test_a_command_of_the_readme_does_what_it_says(tmp_path: Path, variables: str, line: str) -> None:
    (tmp_path / "penstock.yaml").write_text(walk_through(), "utf-8")
    environment = os.environ | dict(pair.split("=", 1) for pair in variables.split())
    command = shlex.split(line, comments=True)
    command[0] = str(Path(sys.executable).parent / command[0])

    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    assert not [pair for pair in variables.split() if pair.split("=", 1)[1] in done.stdout]


def test_the_schema_for_editors_takes_the_walk_through_as_it_stands() -> None:
    validator = jsonschema_rs.Draft202012Validator(file_schema(frontend.schema()))

    assert [error.message for error in validator.iter_errors(yaml.safe_load(walk_through()))] == []


def test_every_link_between_documents_leads_to_a_file() -> None:
    dead = [
        f"{name(path)}: {target}"
        for path in committed()
        if path.suffix == ".md"
        for target in _LINK.findall(path.read_text("utf-8"))
        if "://" not in target and not (path.parent / target).exists()
    ]

    assert dead == []


def test_the_readmes_table_of_values_is_the_codes_own() -> None:
    rows = [line for line in (values.__doc__ or "").splitlines() if line.startswith("| ")]

    assert len(rows) > 10
    assert [row for row in rows if row not in README] == []
