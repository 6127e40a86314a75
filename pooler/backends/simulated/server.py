"""A simulated system as a process of its own: `python -m pooler.backends.simulated.server --help`.

One TCP connection is one session, which counts from the accept until its socket is closed and its dying is over. Who
watches and steers comes in by a port of his own (`control.py`), so that he neither counts nor needs a licence.
"""

import argparse
import asyncio
import signal
import sys
from functools import partial
from typing import Any

import structlog
from pydantic import ValidationError

from pooler.backends.simulated import control, wire
from pooler.backends.simulated.guest import receive
from pooler.backends.simulated.settings import Manners
from pooler.backends.simulated.system import System

log = structlog.get_logger(__name__)

BACKLOG = 1000
"""Clients that the kernel keeps while nobody accepts: a stopped server shall look slow, not absent."""


async def serve(system: System, listen: str, steer: str) -> None:
    """Serves until it is asked to end, and logs where once it listens."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    guests: set[asyncio.Task[None]] = set()
    async with (
        await _bound(partial(receive, system, guests), listen) as sessions,
        await _bound(partial(control.converse, system), steer) as watchers,
    ):
        log.info("listening", address=_address(sessions), control=_address(watchers))
        await ended.wait()
        for guest in guests:
            guest.cancel()
        await asyncio.gather(*guests, return_exceptions=True)


async def _bound(receiver: Any, address: str) -> asyncio.Server:
    host, _, port = address.rpartition(":")
    return await asyncio.start_server(receiver, host, int(port), limit=wire.LINE_BYTES_MAX, backlog=BACKLOG)


def _address(server: asyncio.Server) -> str:
    host, port = server.sockets[0].getsockname()[:2]
    return f"{host}:{port}"


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m pooler.backends.simulated.server", description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:0", help="where sessions are taken: HOST:PORT")
    parser.add_argument("--control", default="127.0.0.1:0", help="where watchers are answered: HOST:PORT")
    parser.add_argument("--manners", default="{}", help="how it behaves, as JSON: the keys of settings.Manners")
    options = parser.parse_args()
    try:
        manners = Manners.model_validate_json(options.manners)
    except ValidationError as error:
        parser.error(f"--manners: {error}")
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    asyncio.run(serve(System(manners), options.listen, options.control))


if __name__ == "__main__":
    main()
