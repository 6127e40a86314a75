"""FastMCP with asyncpg, in an environment of its own: what a Python server costs without anything in between."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.fast.contender import CAP, NAP, POINT, Contender, role, running
from tests.bench.fast.environment import environment
from tests.servers.postgres import PostgresServer
from tests.servers.server import free_port

NAME, ROLE = "FastMCP", "fastmcp"
PACKAGES = ("fastmcp==4.1.2", "asyncpg==0.32.0", "uvloop", "httptools")
SERVER = Path(__file__).with_name("fastmcp_server.py")


@contextmanager
def fastmcp(server: PostgresServer, folder: Path) -> Iterator[Contender]:
    """It, on a free port. Raises Missing when its packages are not to be had."""
    python, port, url = environment(*PACKAGES), free_port(), role(server, ROLE)
    statements = [statement.format(id="$1") for statement in (POINT, NAP)]
    command = [str(python), str(SERVER), str(port), url, str(CAP), *statements]
    with running(command, f"http://127.0.0.1:{port}/", folder / "fastmcp.log") as pid:
        yield Contender(NAME, ROLE, {"FastMCP": pid}, f"http://127.0.0.1:{port}/mcp")
