"""Penstock as it is installed: one frontend and one pooler, each a process of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.fast.contender import CAP, NAP, POINT, Contender, role
from tests.programs import Frontend, Pooler
from tests.servers.postgres import PostgresServer

NAME, ROLE = "Penstock", "penstock_line"
TTL_SECONDS = 60
ACCOUNT = "SELECT aid, abalance FROM pgbench_accounts WHERE aid = {id}"
"""What `pgbench -S` asks, and the key, so that each answer explains itself."""


def config(url: str) -> dict[str, Any]:
    """The point read as it is, kept by the pooler, and kept near the caller too; and one that takes its time, kept."""

    def read(statement: str, **more: Any) -> dict[str, Any]:
        arguments = {"id": {"type": "integer"}}
        return {
            "backend": "db",
            "statement": statement.format(id=":id"),
            "arguments": arguments,
            "effect": "read",
            **more,
        }

    kept = {"cache": {"ttl_seconds": TTL_SECONDS}}
    near = {"cache": {"ttl_seconds": TTL_SECONDS, "near": True}}
    return {
        "backends": {"db": {"kind": "postgres", "url": url, "pool": {"cap": CAP, "warm": CAP, "parallel_starts": CAP}}},
        "operations": {
            "point": read(POINT, share=True),
            "hot": read(POINT, share=True, **kept),
            "near": read(POINT, share=True, **near),
            "nap": read(NAP, **kept),
            "near_nap": read(NAP, **near),
            "account": read(ACCOUNT, share=True),
        },
    }


@contextmanager
def line(server: PostgresServer, folder: Path) -> Iterator[tuple[Contender, Contender]]:
    """The whole line, which speaks MCP, and the pooler alone, which speaks its own wire."""
    with Pooler(folder, config(role(server, ROLE))) as pooler, Frontend(pooler.address) as frontend:
        programs = {"frontend": frontend.pid, "pooler": pooler.pid}
        yield (
            Contender(NAME, ROLE, programs, frontend.url, ours=True),
            Contender("Penstock's pooler", ROLE, {"pooler": pooler.pid}, pooler.address, ours=True),
        )
