"""The fast path beside its peers, in one interleaved run: MCP Toolbox, FastMCP with asyncpg, pgbench over pgbouncer.

Every contender runs all the while, with a role of its own in one PostgreSQL. A peer that is not at hand is left out,
and the table says so and why. Asserts two things only, of ours: that all answers were right, and that the cap was kept.
"""

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from tests.bench.fast import pgbouncer
from tests.bench.fast.cases import Present, cases_of
from tests.bench.fast.contender import CAP, Contender, filled
from tests.bench.fast.fastmcp_peer import fastmcp
from tests.bench.fast.line import line
from tests.bench.fast.load import Missing, find_wrk
from tests.bench.fast.measuring import Plan, measure
from tests.bench.fast.rows import Row, rows
from tests.bench.fast.toolbox import toolbox
from tests.bench.fast.usage import Observer
from tests.servers.postgres import PostgresServer


async def run(url: str) -> list[Row]:
    """Rows of (what, figure, beside what). The server is one of its own, since each contender has its role there."""
    del url
    return await compare(Plan())


async def compare(plan: Plan, only: str = "", say: Callable[[str], None] = lambda doing: None) -> list[Row]:
    """The same by another plan, and of those cases alone whose names have these words."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(filled(folder))
        left_out: list[Row] = []

        def start(peer: Callable[[PostgresServer, Path], AbstractContextManager[Contender]]) -> Contender | None:
            say(f"starting {peer.__name__}")
            try:
                return stack.enter_context(peer(server, folder))
            except Missing as why:
                left_out.append((f"left out: {peer.__name__}", str(why), ""))
                return None

        ours, pooler = stack.enter_context(line(server, folder))
        present = Present(ours, pooler, start(toolbox), start(fastmcp), start(pgbouncer.pgbouncer), wrk=True)
        try:
            find_wrk()
        except Missing as why:
            present.wrk = False
            left_out.append(("left out: whatever speaks MCP", str(why), ""))
        observer = stack.enter_context(Observer(server.admin_url).looking())
        cases = [case for case in cases_of(present) if only in case.name]
        measured = await measure(cases, plan, observer, say)
        for contender in (ours, pooler):
            assert observer.peak[contender.role] <= CAP, f"{observer.peak[contender.role]} connections, cap {CAP}"
        return [*rows(cases, measured, observer), *left_out]
