"""A copy of the tree in which a break may be tried: broken, tested, mended. The working tree is never touched."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from tests.behaviours.ledger import ROOT
from tests.mutations.breaks import Break

PARTS = ("frontend", "pooler", "protos", "tests", "pyproject.toml")
QUICK = ("tests/core/", "tests/model/", "tests/simulation/", "tests/house/")
"""Where tests need no server and no process: they are tried first, and mostly suffice."""
TRIAL_SECONDS = 600.0


class Verdict(StrEnum):
    """What became of a break."""

    CAUGHT = "caught"
    SURVIVED = "SURVIVED"
    UNTRIED = "UNTRIED: the tests did not run"


class PatchError(Exception):
    """A break does not fit its file any more."""


def broken(text: str, change: Break) -> str:
    """A file's text after a break. Raises PatchError unless the old text stands in it exactly once."""
    if (times := text.count(change.old)) != 1:
        raise PatchError(f"{change.file}: found {times} times, not once: {change.old!r}")
    return text.replace(change.old, change.new)


class Copy:
    """The tree, copied into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / part)

    def tried(self, change: Break, tests: list[str]) -> Verdict:
        """Whether the tests notice the break: the quick ones, and only if they do not, the others."""
        quick = [test for test in tests if test.startswith(QUICK)]
        with self._broken(change):
            for some in (quick, [test for test in tests if test not in quick]):
                if some and (verdict := self.run(some)) is not Verdict.SURVIVED:
                    return verdict
        return Verdict.SURVIVED

    def run(self, tests: list[str]) -> Verdict:
        """Whether these tests find anything wrong with the copy as it is. One that hangs has found it."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        try:
            done = subprocess.run(command, cwd=self.folder, capture_output=True, timeout=TRIAL_SECONDS)
        except subprocess.TimeoutExpired:
            return Verdict.CAUGHT
        return {0: Verdict.SURVIVED, 1: Verdict.CAUGHT}.get(done.returncode, Verdict.UNTRIED)

    def imports_itself(self) -> bool:
        """Whether what runs in the copy is the copy, and not what is installed."""
        question = [sys.executable, "-c", "import pooler; print(pooler.__file__)"]
        answer = subprocess.run(question, cwd=self.folder, capture_output=True, text=True, check=True).stdout
        return Path(answer.strip()).is_relative_to(self.folder)

    @contextmanager
    def _broken(self, change: Break) -> Iterator[None]:
        file = self.folder / change.file
        sound = file.read_text("utf-8")
        file.write_text(broken(sound, change), "utf-8")
        try:
            yield
        finally:
            file.write_text(sound, "utf-8")
