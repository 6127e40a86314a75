"""A result that a worker brings page by page: each page is asked for when there is room for it, and the rest is given
back when nobody wants it. What a page must look like is said in `results.py`."""

import asyncio

from pooler.backends import streams
from pooler.backends.base import Window, Work
from pooler.backends.process import results
from pooler.backends.process.connection import WorkerConnection
from pooler.backends.process.wire import Reply


async def bring(connection: WorkerConnection, first: Reply, work: Work, window: Window) -> bytes:
    """All pages, or as many as the window wants: the body of the answer. Raises BackendError."""
    try:
        more = await _fill(connection, first, work, window)
    except asyncio.CancelledError:
        connection.forsake(first.id)
        raise
    except Exception:
        await connection.stop_page(first.id)
        raise
    await connection.stop_page(first.id)
    return window.close(more)


async def _fill(connection: WorkerConnection, first: Reply, work: Work, window: Window) -> bool:
    """Whether there is more that the window does not want."""
    prepared: results.Prepared = work.prepared
    page = results.page(first.result, prepared)
    columns = page.columns
    window.open(columns)
    while await streams.take(window, page.rows, last=not page.more):
        if not page.more:
            return False
        reply = await connection.next_page(first.id, work.caller, work.news)
        page = results.page(reply.result, prepared, columns)
    return True
