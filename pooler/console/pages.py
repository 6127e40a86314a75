"""What a pooler says over HTTP: `/healthz` that the process lives, `/readyz` whether it takes calls and who serves,
`/metrics` what the pools count."""

from collections.abc import Callable, Mapping

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pooler.console import metrics
from pooler.runtime.driver import Driver
from pooler.runtime.reuse.room import Answers


def application(drivers: Mapping[str, Driver], answers: Answers, accepting: Callable[[], bool]) -> web.Application:
    """The pages, over the drivers and the shared answers as they are at each request."""

    async def healthz(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(request: web.Request) -> web.Response:
        ready = accepting()
        body = {"ready": ready, "backends": {name: drivers[name].pool.serving for name in sorted(drivers)}}
        return web.Response(body=orjson.dumps(body), content_type="application/json", status=200 if ready else 503)

    counted = metrics.registry(drivers, answers)

    async def scrape(request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(counted), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", scrape)])
    return app
