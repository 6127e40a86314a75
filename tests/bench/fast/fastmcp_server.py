"""A server of a few lines, as one writes it with FastMCP and asyncpg: no state, JSON answers, a pool of four.

`python fastmcp_server.py PORT DATABASE_URL CONNECTIONS POINT NAP`, in an environment of its own.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg  # type: ignore[import-not-found]
import uvicorn
from fastmcp import FastMCP  # type: ignore[import-not-found]

pool: Any = None
PORT, URL, CONNECTIONS, POINT, NAP = sys.argv[1:]


@asynccontextmanager
async def lifespan(server: Any) -> AsyncIterator[None]:
    global pool
    async with asyncpg.create_pool(URL, min_size=int(CONNECTIONS), max_size=int(CONNECTIONS)) as pool:
        yield


mcp = FastMCP("bench", lifespan=lifespan)


async def point(id: int) -> dict[str, Any]:  # noqa: A002 - the argument's name for its callers
    """One row."""
    return dict(await pool.fetchrow(POINT, id))


async def nap(id: int) -> dict[str, Any]:  # noqa: A002 - the argument's name for its callers
    """One row, which takes its time."""
    return dict(await pool.fetchrow(NAP, id))


mcp.tool(point)
mcp.tool(nap)
app = mcp.http_app(path="/mcp", stateless_http=True, json_response=True)
uvicorn.run(app, host="127.0.0.1", port=int(PORT), log_level="warning", access_log=False)
