"""A dumb proxy before several frontends: each HTTP request goes to the next one, whatever it is and whoever sends it.

It knows nothing of MCP, keeps nothing between two requests, and passes on what it gets as it gets it. One that does not
answer at all is skipped, as any proxy does. Run as a program: `python -m tests.round_robin URL URL …`.
"""

import asyncio
import itertools
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout, web
from multidict import CIMultiDict

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})


class RoundRobin:
    """`urls`: the endpoints of the frontends. `served`: how many requests went to each of them."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.served = dict.fromkeys(urls, 0)
        self._turns = itertools.cycle(urls)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Passes a request on, and its answer back."""
        body = await request.read()
        for _ in self.served:
            url = next(self._turns)
            self.served[url] += 1
            try:
                return await self._pass_on(request, url, body)
            except ClientConnectorError:
                continue
        return web.Response(status=502, text="no frontend answers\n")

    async def _pass_on(self, request: web.BaseRequest, url: str, body: bytes) -> web.StreamResponse:
        headers = CIMultiDict((name, value) for name, value in request.headers.items() if _passes(name))
        # A connection for each request: none of them is the same frontend's by accident.
        async with (
            ClientSession(timeout=ClientTimeout(total=None), auto_decompress=False) as session,
            session.request(request.method, url, headers=headers, data=body) as answer,
        ):
            passed = CIMultiDict((name, value) for name, value in answer.headers.items() if _passes(name))
            response = web.StreamResponse(status=answer.status, headers=passed)
            await response.prepare(request)
            try:
                async for piece in answer.content.iter_any():
                    await response.write(piece)
                await response.write_eof()
            except ClientError:
                # Its frontend has died under the answer: so must the answer, rather than look complete.
                if request.transport is not None:
                    request.transport.abort()
            return response


def _passes(name: str) -> bool:
    return name.lower() not in HOP_BY_HOP


@asynccontextmanager
async def round_robin(urls: Sequence[str]) -> AsyncIterator[tuple[str, RoundRobin]]:
    """Such a proxy on a free port: the address that stands for all of them."""
    proxy = RoundRobin(urls)
    # Without it a client that leaves is not noticed before something is written to it.
    runner = web.ServerRunner(web.Server(proxy.answer), handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"http://127.0.0.1:{port}/mcp", proxy
    finally:
        await runner.cleanup()


async def _serve(urls: Sequence[str]) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with round_robin(urls) as (url, _):
        print(json.dumps({"event": "listening", "url": url}), file=sys.stderr, flush=True)
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1:]))
