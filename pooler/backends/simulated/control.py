"""The control port of a simulated system: who watches and steers asks here, one JSON object a line, one answer each.

`{"do": "counts"}` · `{"do": "peak"}` (with its moment) · `{"do": "forget_peak"}` · `{"do": "sessions"}` ·
`{"do": "behave", "manners": {…}}` · `{"do": "kill", "session": n}` (all of them without `session`) ·
`{"do": "wait", "counts": {"busy": 3}, "seconds": 10}`: until the counts are these, were it for a moment.
An answer is `{"answer": …}` or `{"error": "…"}`.
"""

import asyncio
import contextlib
from dataclasses import asdict
from typing import Any

import orjson
from pydantic import ValidationError

from pooler.backends.simulated import wire
from pooler.backends.simulated.census import Counts
from pooler.backends.simulated.system import System

STATES = ("starting", "open", "busy", "dying", "total")


async def converse(system: System, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers one watcher until he leaves."""
    with contextlib.suppress(OSError, wire.ProtocolError):
        async for line in reader:
            writer.write(orjson.dumps(await _reply(system, wire.decode(line))) + b"\n")
    writer.close()


async def _reply(system: System, order: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"answer": await _carry_out(system, order)}
    except (ValidationError, LookupError, TimeoutError) as error:
        return {"error": str(error)}


async def _carry_out(system: System, order: dict[str, Any]) -> Any:
    match order.get("do"):
        case "counts":
            return asdict(system.counts())
        case "peak":
            return asdict(system.census.peak)
        case "forget_peak":
            return system.census.forget_peak(asyncio.get_running_loop().time())
        case "sessions":
            return [
                {key: getattr(session, key) for key in ("number", "owner", "requests", "left")}
                | {"state": session.state.value}
                for session in system.sessions
            ]
        case "behave":
            return system.behave(**order["manners"])
        case "kill":
            return _kill(system, order.get("session"))
        case "wait":
            return asdict(await _wait(system, order["counts"], order["seconds"]))
        case other:
            raise LookupError(f"nothing is called {other!r}")


def _kill(system: System, number: int | None) -> int:
    doomed = [session for session in system.sessions if number in (None, session.number)]
    if number is not None and not doomed:
        raise LookupError(f"there is no session {number}")
    for session in doomed:
        system.kill(session)
    return len(doomed)


async def _wait(system: System, expected: dict[str, int], seconds: float) -> Counts:
    if unknown := expected.keys() - set(STATES):
        raise LookupError(f"no state is called {', '.join(sorted(unknown))}: use {', '.join(STATES)}")
    try:
        async with asyncio.timeout(seconds):
            return await system.census.until(
                lambda counts: all(getattr(counts, state) == number for state, number in expected.items())
            )
    except TimeoutError:
        raise TimeoutError(f"{system.counts()} after {seconds:g} s, never {expected}") from None
