"""One client of a system that is a process: its session, from the accept to its death, and the socket it came by.

It decides nothing about the session: the system does, and this file carries its answers, its silence and its end.
"""

import asyncio
import contextlib
import socket
import struct
from functools import partial
from typing import Any

import structlog

from pooler.backends.base import Failure, FailureKind
from pooler.backends.simulated import classify, wire
from pooler.backends.simulated.methods import perform
from pooler.backends.simulated.system import Job, LicenceError, Session, State, System

log = structlog.get_logger(__name__)

RESETS = struct.pack("ii", 1, 0)
"""SO_LINGER without any time: a close then sends RST, and what has not been sent is lost."""


def receive(system: System, tasks: set["asyncio.Task[None]"], *streams: Any) -> None:
    """Takes a client in, in the same step in which it is accepted."""
    guest = Guest(system, *streams)
    task = asyncio.ensure_future(guest.stay())
    tasks.add(task)
    task.add_done_callback(tasks.discard)


class Heard:
    """Tells a client how far its request is, as long as somebody may listen."""

    def __init__(self, writer: asyncio.StreamWriter, number: int | None) -> None:
        self._writer = writer
        self._number = number

    def progress(self, progress: float, total: float | None = None, message: str = "") -> None:
        self._tell(progress=[progress, total, message])

    def log(self, level: str, data: Any, logger: str = "") -> None:
        self._tell(log=[level, data, logger])

    def _tell(self, **facts: Any) -> None:
        if not self._writer.is_closing():
            self._writer.write(wire.encode(id=self._number, news=True, **facts))


class Guest:
    """One client: its session, and the socket that it came by."""

    def __init__(self, system: System, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._system = system
        self._reader = reader
        self._writer = writer
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = False
        """Whether our side of the stream has ended, which need not end the session."""
        self._session: Session | None = None
        self._refusal: LicenceError | None = None
        try:
            self._session = system.arrive("")
        except LicenceError as error:
            self._refusal = error

    async def stay(self) -> None:
        """The client's whole stay; the socket is closed when the session is not counted any more."""
        listening = asyncio.ensure_future(self._listen())
        try:
            if self._session is None:
                await listening
            else:
                await self._live(self._session, listening)
        finally:
            left = [listening, *self._tasks]
            for task in left:
                task.cancel()
            self._writer.close()
            await asyncio.gather(*left, return_exceptions=True)

    async def _live(self, session: Session, listening: "asyncio.Task[None]") -> None:
        gone = asyncio.ensure_future(session.gone.wait())
        await asyncio.wait({listening, gone}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            self._break_off()
            return
        self._system.drop(session)
        if self._system.manners.confirm_death:
            await gone
        else:
            gone.cancel()

    def _break_off(self) -> None:
        """Dies as a crash would: in the middle of a message, by a reset."""
        if not self._ended:
            self._writer.write(b'{"id":')
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
        self._writer.transport.abort()

    async def _listen(self) -> None:
        """Reads until the client leaves, in whatever way."""
        with contextlib.suppress(OSError, ValueError, wire.ProtocolError):  # ValueError: a line without an end
            async for line in self._reader:
                if not line.strip():
                    continue
                message = wire.decode(line)
                if message.get("do") == "close":
                    return
                task = asyncio.ensure_future(self._answer(message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                if self._refusal is not None:
                    await task
                    return

    async def _answer(self, message: dict[str, Any]) -> None:
        facts: dict[str, Any]
        try:
            facts = await self._do(message)
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            facts = {"error": wire.encode_failure(_failure(error))}
        session = self._session
        if self._ended or (session is not None and session.state is State.GONE):
            return
        if session is not None:
            facts["transaction"] = session.transaction
        self._writer.write(wire.encode(id=message.get("id"), **facts))
        if session is not None and session.mute:
            self._ended = True
            self._writer.write_eof()

    async def _do(self, message: dict[str, Any]) -> dict[str, Any]:
        system, session = self._system, self._session
        if session is None:
            assert self._refusal is not None
            await system.step("open", 0)
            raise self._refusal
        match message.get("do"):
            case "login":
                session.owner = str(message["owner"])
                await system.login(session)
                return {"session": session.number, "confirms_death": system.manners.confirm_death}
            case "validate":
                await system.validate(session)
                return {}
            case "request":
                request = wire.decode_request(message)
                heard = Heard(self._writer, message.get("id"))
                job = Job(partial(perform, request, system.ledger), request.seconds, request.steps, heard)
                return wire.encode_answer(await system.request(session, job))
            case "fetch":
                return wire.encode_answer(await system.fetch(session, message["rows"], message["seconds"]))
            case "leave":
                system.leave(session)
                return {}
            case "begin" | "commit" | "rollback" as step:
                await system.transact(session, step)
                return {}
            case "stop":
                return {"clean": await system.stop(session)}
            case "reset":
                return {"clean": await system.reset(session)}
            case "census":
                return {"there": [system.census.has(owner) for owner in message["owners"]]}
            case other:
                raise wire.ProtocolError(f"nothing is called {other!r}")


def _failure(error: BaseException) -> Failure:
    failure = classify.classify(error)
    if failure.kind is FailureKind.BUG:
        log.error("unforeseen failure", exc_info=error)
    return failure
