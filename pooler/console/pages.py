"""Health over HTTP: `/healthz` says that the process lives, `/readyz` whether it takes calls, and who serves."""

from collections.abc import Callable, Mapping

import orjson
from aiohttp import web

from pooler.runtime.driver import Driver


def application(drivers: Mapping[str, Driver], accepting: Callable[[], bool]) -> web.Application:
    """The pages, over the drivers as they are at each request."""

    async def healthz(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(request: web.Request) -> web.Response:
        ready = accepting()
        body = {"ready": ready, "backends": {name: drivers[name].pool.serving for name in sorted(drivers)}}
        return web.Response(body=orjson.dumps(body), content_type="application/json", status=200 if ready else 503)

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz)])
    return app
