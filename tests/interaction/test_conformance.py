"""The public conformance suite, against two frontends → gRPC → pooler → a worker, all of them processes of their own.

A dumb proxy stands before the frontends, and gives each request to the next one, in both revisions.

The worker knows what the suite expects; frontend and pooler know nothing of it.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests import npm
from tests.interaction.expected import NODE, OPEN, PASSING, SUITE
from tests.programs import Frontend, Pooler, RoundRobin

HERE = Path(__file__).parent / "conformance"
SUITE_SECONDS = 100

_RESULT = re.compile(r"server-(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z")


@pytest.fixture(scope="module")
def suite() -> list[str]:
    """The command that runs the suite."""
    modules = npm.packages(NODE, SUITE) / "node_modules"
    return [str(modules / "node/bin/node"), str(modules / "@modelcontextprotocol/conformance/dist/index.js")]


@pytest.fixture(scope="module", params=[True, False], ids=["hot", "slow"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the fixture worker's tools are served, by way of pooler and frontend, with the short way and without."""
    folder = tmp_path_factory.mktemp("conformance")
    config = yaml.safe_load((HERE / "penstock.yaml").read_text())
    config["backends"]["fixture"]["command"] = [sys.executable, str(HERE / "worker.py")]
    # Addresses and folders are this run's own.
    config = {key: config[key] for key in ("backends", "operations", "prompts")}
    with (
        Pooler(folder, config) as pooler,
        Frontend(pooler.address, hot=request.param) as one,
        Frontend(pooler.address, hot=request.param) as other,
        RoundRobin(one.url, other.url) as proxy,
    ):
        yield proxy.url


@pytest.mark.parametrize("revision", sorted(PASSING))
def test_the_scenarios_that_pass_are_those_that_are_expected_to(
    suite: list[str], url: str, revision: str, tmp_path: Path
) -> None:
    command = [*suite, "server", "--url", url, "--requirements", revision, "--output-dir", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=SUITE_SECONDS, check=False)
    seen = dict(map(outcome, tmp_path.iterdir()))
    assert seen, f"the suite ran nothing:\n{run.stdout[-2000:]}{run.stderr[-2000:]}"
    expected = dict.fromkeys(PASSING[revision], True) | dict.fromkeys(OPEN[revision], False)
    assert seen == expected


def test_every_open_scenario_has_a_reason_in_the_readme() -> None:
    words = " ".join((HERE.parent / "README.md").read_text().split())
    unsaid = {
        f"{revision}: {scenario}"
        for revision, scenarios in OPEN.items()
        for scenario, reason in scenarios.items()
        if f"`{scenario}`" not in words or reason not in words
    }
    assert unsaid == set()


def outcome(folder: Path) -> tuple[str, bool]:
    """A scenario's name, and whether it passed: by the suite's own rule, when none of its checks failed."""
    match = _RESULT.fullmatch(folder.name)
    assert match, folder.name
    checks = json.loads((folder / "checks.json").read_text())
    return match["scenario"], all(check["status"] != "FAILURE" for check in checks)
