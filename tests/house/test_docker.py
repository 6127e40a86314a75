"""The images and the compose file, as far as they can be judged without building them."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.house.tree import ROOT, committed

FOLDER = ROOT / "docker"
IMAGES = sorted(FOLDER.glob("*.Dockerfile"))
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
OURS = ("pooler", "frontend")


def instructions(image: Path) -> list[tuple[str, str]]:
    """A Dockerfile's instructions and their arguments, lines joined."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", image.read_text("utf-8"), flags=re.MULTILINE))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


@pytest.fixture(params=IMAGES, ids=[image.stem for image in IMAGES])
def image(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_there_is_an_image_for_each_program() -> None:
    assert [image.stem for image in IMAGES] == sorted(OURS)


def test_an_image_runs_as_nobody_in_particular_and_says_whether_it_is_well(image: Path) -> None:
    said = dict(instructions(image))

    assert said["USER"].isdigit()
    assert int(said["USER"]) >= 1000
    assert "CMD" in said["HEALTHCHECK"]
    assert said["ENTRYPOINT"] == '["penstock"]'
    assert said["STOPSIGNAL"] == "SIGTERM"


def test_an_image_copies_only_what_is_committed_and_not_ignored(image: Path) -> None:
    top = {path.relative_to(ROOT).parts[0] for path in committed()}
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    copied = {
        source
        for name, arguments in instructions(image)
        if name == "COPY" and not arguments.startswith("--from")
        for source in arguments.split()[:-1]
    }

    assert copied <= top & sent


def test_an_image_installs_extras_that_exist_and_only_its_own(image: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    text = " ".join(arguments for _, arguments in instructions(image))
    (installed,) = re.findall(r"'\.\[(.*?)\]'", text)
    wanted = set(installed.split(","))

    assert wanted <= extras.keys()
    assert image.stem in wanted
    assert not wanted & (set(OURS) - {image.stem})


def test_a_health_check_is_a_command_that_exists() -> None:
    (asked,) = re.findall(r'CMD \["penstock", "(\w+)", "--json"\]', dict(instructions(IMAGES[1]))["HEALTHCHECK"])
    done = subprocess.run([beside("penstock"), asked, "--help"], capture_output=True, text=True)

    assert done.returncode == 0
    assert "--json" in done.stdout


def beside(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def test_compose_publishes_on_loopback_alone() -> None:
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]

    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_compose_refers_to_files_that_are_there() -> None:
    files = [service["build"]["dockerfile"] for service in COMPOSE["services"].values() if "build" in service]
    mounted = [
        volume.split(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service["volumes"]
        if volume.startswith("./")
    ]

    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert [file for file in mounted if not (FOLDER / file).is_file()] == []


def test_compose_names_only_what_it_declares() -> None:
    for key in ("networks", "volumes"):
        used = {
            str(entry).split(":")[0]
            for service in COMPOSE["services"].values()
            for entry in service[key]
            if not str(entry).startswith(".")
        }
        assert used == set(COMPOSE[key])


@pytest.mark.parametrize("program", OURS)
def test_compose_gives_each_program_the_variables_that_its_sections_ask_for(program: str) -> None:
    data = yaml.safe_load((FOLDER / "penstock.yaml").read_text("utf-8"))
    sections = {name: part for name, part in data.items() if (name == "frontend") == (program == "frontend")}

    assert set(re.findall(r"\$\{(\w+)\}", yaml.safe_dump(sections))) == set(COMPOSE["services"][program]["environment"])


def test_the_sample_configuration_is_sound() -> None:
    secrets = {"ORDERS_PASSWORD": "hunter2-of-orders", "PENSTOCK_TOKEN": "a-long-enough-token"}

    done = subprocess.run(
        [beside("penstock"), "check", str(FOLDER / "penstock.yaml")],
        env=os.environ | secrets,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_the_grace_of_a_stop_covers_the_drain() -> None:
    drain = yaml.safe_load((FOLDER / "penstock.yaml").read_text("utf-8"))["pooler"].get("drain_grace_seconds", 30)

    assert int(COMPOSE["services"]["pooler"]["stop_grace_period"].removesuffix("s")) > drain
