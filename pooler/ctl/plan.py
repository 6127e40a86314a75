"""What `penstock up` is about to start: from a configuration, or from the embedded demo. Starts nothing."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from pooler.config import Config, ConfigError
from pooler.ctl import frontend
from pooler.ctl.check import judge
from pooler.ctl.exits import fail
from pooler.ctl.ports import free_address, is_taken

MCP_ADDRESS = "127.0.0.1:8080"
POOLER_ADDRESS = "127.0.0.1:7433"
HTTP_ADDRESS = "127.0.0.1:7434"


@dataclass(frozen=True, slots=True)
class Plan:
    """A sound configuration, and everything that the two programs need to start from it."""

    file: Path
    config: Config
    variables: dict[str, str]
    """The frontend's environment."""
    mcp: str
    """Where the frontend will listen."""
    pooler: str
    """Where a frontend that is started by itself will look for the pooler."""
    token: str | None
    """A bearer token that the frontend takes, when it asks for one."""
    demo: bool


def plan_for(file: Path, *, demo: bool = False) -> Plan:
    """Reads a configuration, and ends the command with every fault of it, or with the addresses that are taken."""
    try:
        config, document, judged = judge(file)
    except ConfigError as error:
        fail(str(error))
    if not judged:
        fail("the frontend is not installed here: pip install 'penstock[frontend]', or start `penstock pooler` alone")
    section = document.data.get("frontend") or {}
    variables = frontend.environment(section)
    mcp = variables.get(f"{frontend.PREFIX}LISTEN", MCP_ADDRESS)
    addresses = {"frontend.listen": mcp, "pooler.listen": config.pooler.listen, "pooler.http": config.pooler.http}
    if config.pooler.admin.listen is not None:
        addresses["pooler.admin.listen"] = config.pooler.admin.listen
    _refuse_taken(file, addresses)
    tokens = section.get("tokens") or [{}]
    pooler = POOLER_ADDRESS if demo else variables.get(f"{frontend.PREFIX}POOLER", POOLER_ADDRESS)
    return Plan(file, config, variables, mcp, pooler, tokens[0].get("token"), demo)


@contextmanager
def demo_plan() -> Iterator[Plan]:
    """The embedded demo in a temporary folder, which goes when the demo does.

    A customary port that is taken is replaced by a free one: a demo should run, and it says where.
    """
    from pooler.demo.orders import write_orders

    with tempfile.TemporaryDirectory(prefix="penstock-demo-") as folder, as_file(files("pooler.demo")) as package:
        write_orders(Path(folder) / "orders.db")
        os.environ |= {
            "PENSTOCK_DEMO_FOLDER": folder,
            "PENSTOCK_DEMO_PYTHON": sys.executable,
            "PENSTOCK_DEMO_MCP": free_address(MCP_ADDRESS),
            "PENSTOCK_DEMO_LISTEN": free_address(POOLER_ADDRESS),
            "PENSTOCK_DEMO_HTTP": free_address(HTTP_ADDRESS),
        }
        yield plan_for(package / "penstock.yaml", demo=True)


def _refuse_taken(file: Path, addresses: dict[str, str]) -> None:
    taken = [f"{address} is in use: stop what listens there, or change {key} in {file}"
             for key, address in addresses.items() if is_taken(address)]  # fmt: skip
    if taken:
        fail("\n".join(taken))
