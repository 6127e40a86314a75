"""MCP Toolbox for Databases, in Go, with the pool that it has by default; its npm package carries the program."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import npm
from tests.bench.fast.contender import NAP, POINT, Contender, role, running
from tests.bench.fast.load import Missing
from tests.servers.postgres import PostgresServer
from tests.servers.server import free_port

NAME, ROLE = "MCP Toolbox", "mcp_toolbox"
PACKAGE = "@toolbox-sdk/server@1.12.0"


@contextmanager
def toolbox(server: PostgresServer, folder: Path) -> Iterator[Contender]:
    """It, on a free port. Raises Missing when its package is not to be had."""
    program = _program()
    file, port = folder / "toolbox.yaml", free_port()
    role(server, ROLE)
    file.write_text(yaml.safe_dump_all(_config(server.port)))
    listen = f"--address=127.0.0.1 --port={port} --allowed-hosts=127.0.0.1 --allowed-origins=http://127.0.0.1"
    quiet = "--log-level=WARN --disable-reload --disable-version-check"
    command = [str(program), f"--config={file}", *listen.split(), *quiet.split()]
    with running(command, f"http://127.0.0.1:{port}/", folder / "toolbox.log") as pid:
        yield Contender(NAME, ROLE, {"Toolbox": pid}, f"http://127.0.0.1:{port}/mcp")


def _program() -> Path:
    try:
        modules = npm.packages(PACKAGE) / "node_modules"
    except (pytest.skip.Exception, pytest.fail.Exception) as missing:
        raise Missing(str(missing)) from missing
    found = sorted(modules.glob("@toolbox-sdk/server-*/bin/toolbox*"))
    if not found:
        raise Missing(f"{PACKAGE} has no program for this machine")
    return found[0]


def _config(port: int) -> Iterator[dict[str, Any]]:
    yield {
        "kind": "source",
        "name": "db",
        "type": "postgres",
        "host": "127.0.0.1",
        "port": str(port),
        "database": "legacy",
        "user": ROLE,
        "password": "not asked for",
    }
    for name, statement in {"point": POINT, "nap": NAP}.items():
        yield {
            "kind": "tool",
            "name": name,
            "type": "postgres-sql",
            "source": "db",
            "description": "One row.",
            "statement": statement.format(id="$1"),
            "parameters": [{"name": "id", "type": "integer", "description": "Which."}],
        }
