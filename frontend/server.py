"""uvicorn with a frontend in it, and the same on standard input and output: what `python -m frontend` runs.

Ends when a signal says so, after the calls under way have been answered. Nothing of a request is looked at here.
"""

import asyncio
import contextlib
import gc
import signal
import socket
import sys

import uvicorn
import uvloop

from frontend.app import Frontend
from frontend.config import Settings
from frontend.hot.protocol import protocol_of
from frontend.logs import Logger

log = Logger(__name__)

GRACE_SECONDS = 25
"""How long calls under way may still take when the process is asked to stop; orchestrators kill after 30."""

KEEP_ALIVE_SECONDS = 65
"""Longer than the 60 s after which proxies drop an idle connection, so that none of them meets a closed one."""


class Server(uvicorn.Server):
    """uvicorn with a frontend in it, saying where it listens in one line that programs can read."""

    def __init__(self, settings: Settings) -> None:
        self.frontend = Frontend(settings, own_server=True)
        super().__init__(
            uvicorn.Config(
                self.frontend,
                host=settings.host,
                port=settings.port,
                loop="uvloop",
                http=protocol_of(self.frontend.desk, self.frontend.watch) if settings.hot else "httptools",
                ws="none",
                lifespan="on",
                log_config=None,
                # What it says below that is about its own insides.
                log_level="warning",
                access_log=False,
                server_header=False,
                # Calls are counted, and refused in words, further in; this bounds the sockets, idle ones included.
                limit_concurrency=2 * settings.calls_max + 64,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self.address = ""
        """Where MCP is served, once `listening` is set."""
        self.listening = asyncio.Event()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the streams that would outlast any grace, then what uvicorn knows of."""
        self.frontend.leave()
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Binds, and says where: with port 0 nobody else knows."""
        await super().startup(sockets)
        bound = [each for server in self.servers for each in server.sockets]
        if bound:
            host, port = bound[0].getsockname()[:2]
            self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            log.info("listening", address=self.address)
            # The program itself stays: a full collection would look through it, and everybody would wait for that.
            gc.freeze()
            self.listening.set()


def serve(settings: Settings) -> None:
    """Serves MCP over HTTP until a signal ends it. Exits with 3 when the address cannot be had, after saying so."""
    # uvicorn repeats the signal once it has stopped; to end as asked is no failure, and needs no traceback.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    Server(settings).run()


def serve_stdio(settings: Settings) -> None:
    """Serves MCP to the one client that started this process."""
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(Frontend(settings).run_stdio())
