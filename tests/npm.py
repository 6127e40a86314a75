"""Packages from the npm registry for tests that need another language, installed once into a cache folder."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

CACHE = Path(__file__).parent.parent / ".cache" / "npm"
INSTALL_SECONDS = 300


def required() -> bool:
    """Whether a missing server or tool is a failure here, as in CI, and no reason to skip."""
    return os.environ.get("PENSTOCK_REQUIRE_SERVERS") == "1"


def packages(*names: str) -> Path:
    """The folder whose `node_modules` has these packages. Skips the test, with a reason, where npm is not at hand."""
    folder = CACHE / hashlib.sha256(" ".join(names).encode()).hexdigest()[:16]
    if (folder / "installed").exists():
        return folder
    npm = shutil.which("npm")
    if npm is None:
        return _unavailable("npm is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true}\n')
    command = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error", *names]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return _unavailable(f"npm did not install {names} within {INSTALL_SECONDS} s")
    if done.returncode != 0:
        return _unavailable(f"npm could not install {names}: {done.stderr[-500:]}")
    (folder / "installed").touch()
    return folder


def _unavailable(why: str) -> Path:
    if required():
        pytest.fail(why)
    pytest.skip(why)
