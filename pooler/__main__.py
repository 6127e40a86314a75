"""`python -m pooler --config FILE`: runs a pooler until SIGTERM or SIGINT; SIGHUP reloads the configuration."""

import argparse
import asyncio
import contextlib
import gc
import signal
import sys
from pathlib import Path

import uvloop

from pooler import logs
from pooler.app import UNUSABLE, Pooler
from pooler.build import BuildError
from pooler.config import Config, ConfigError, load
from pooler.runtime.store.base import StoreError
from pooler.service.server import AddressError
from pooler.state import StateDirError


def main() -> None:
    """Exits with 0 after a stop that was asked for, 1 when it could not start, 2 when the configuration is faulty."""
    parser = argparse.ArgumentParser(prog="python -m pooler", description="Run a Penstock pooler.")
    parser.add_argument("--config", type=Path, required=True, help="the configuration file (YAML)")
    path = parser.parse_args().config
    try:
        config = load(path)
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    logs.configure(config.pooler)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(config))
    except (BuildError, StateDirError, StoreError, AddressError, OSError) as error:
        print(f"penstock pooler: {error}", file=sys.stderr)
        sys.exit(1)


async def _run(config: Config) -> None:
    pooler = Pooler(config)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    reload = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    await pooler.start()
    gc.freeze()  # the program itself stays: a full collection would look through it, 60 ms in which everybody waits
    reloader = loop.create_task(_reload_when(reload, pooler))
    await stop.wait()
    reloader.cancel()
    await asyncio.gather(reloader, return_exceptions=True)
    await pooler.stop()


async def _reload_when(asked: asyncio.Event, pooler: Pooler) -> None:
    while True:
        await asked.wait()
        asked.clear()
        with contextlib.suppress(*UNUSABLE):  # logged by then, and the old one stays
            await pooler.reread()


if __name__ == "__main__":
    main()
