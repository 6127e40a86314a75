"""Python environments for peers and tools, made once into a cache folder, so that our own stays as it is pinned."""

import hashlib
import subprocess
import venv
from pathlib import Path

from tests.bench.fast.load import Missing

CACHE = Path(__file__).parents[3] / ".cache" / "venv"
INSTALL_SECONDS = 300


def environment(*packages: str) -> Path:
    """The interpreter of one that has these packages. Raises Missing when they are not to be had."""
    folder = CACHE / hashlib.sha256(" ".join(packages).encode()).hexdigest()[:16]
    python = folder / "bin" / "python"
    if (folder / "installed").exists():
        return python
    venv.create(folder, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Missing(f"pip did not install {packages} within {INSTALL_SECONDS} s") from None
    if done.returncode:
        raise Missing(f"pip could not install {packages}: {done.stderr[-500:]}")
    (folder / "installed").touch()
    return python
