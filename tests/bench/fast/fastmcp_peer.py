"""FastMCP with asyncpg, in an environment of its own: what a Python server costs without anything in between."""

import hashlib
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.fast.contender import CAP, NAP, POINT, Contender, role, running
from tests.bench.fast.load import Missing
from tests.servers.postgres import PostgresServer
from tests.servers.server import free_port

NAME, ROLE = "FastMCP", "fastmcp"
PACKAGES = ("fastmcp==4.1.2", "asyncpg==0.32.0", "uvloop", "httptools")
INSTALL_SECONDS = 300
SERVER = Path(__file__).with_name("fastmcp_server.py")
CACHE = Path(__file__).parents[3] / ".cache" / "venv"


@contextmanager
def fastmcp(server: PostgresServer, folder: Path) -> Iterator[Contender]:
    """It, on a free port. Raises Missing when its packages are not to be had."""
    python, port, url = _python(), free_port(), role(server, ROLE)
    statements = [statement.format(id="$1") for statement in (POINT, NAP)]
    command = [str(python), str(SERVER), str(port), url, str(CAP), *statements]
    with running(command, f"http://127.0.0.1:{port}/", folder / "fastmcp.log") as pid:
        yield Contender(NAME, ROLE, {"FastMCP": pid}, f"http://127.0.0.1:{port}/mcp")


def _python() -> Path:
    """The interpreter of an environment that has the packages, made once."""
    folder = CACHE / hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:16]
    python = folder / "bin" / "python"
    if (folder / "installed").exists():
        return python
    venv.create(folder, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Missing(f"pip did not install {PACKAGES} within {INSTALL_SECONDS} s") from None
    if done.returncode:
        raise Missing(f"pip of {sys.version_info[:2]} could not install {PACKAGES}: {done.stderr[-500:]}")
    (folder / "installed").touch()
    return python
