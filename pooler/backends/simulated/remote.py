"""Connections to a system that is a process of its own: opened over TCP, and closed with proof.

The end of the stream is no proof of a session's death: a system may end its own side and keep the session. The proof is
that the other side takes nothing any more. So a close asks the system to drop the session, waits for the end of the
stream, and then knocks until it is refused, which the kernel on the other side does once the socket is closed there.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from pooler.backends.base import Answer, BackendError, Failure, FailureKind, News, Tag, Transaction
from pooler.backends.simulated import wire
from pooler.backends.simulated.connection import Boundary, SimulatedConnection
from pooler.backends.simulated.ledger import Batch
from pooler.backends.simulated.methods import Request
from pooler.runtime.endings import to_the_end
from pooler.runtime.lines import Lines, LineTooLongError

GIVE_UP_SECONDS = 60.0
"""How long a start that failed or was given up waits for the system to let go of it; the slot stays taken meanwhile."""

KNOCK_SECONDS = 0.001
KNOCK_SECONDS_MAX = 0.05
"""The pause between two knocks doubles up to this; most sessions have gone when the stream ends."""


class Line(asyncio.Protocol):
    """The client's end of the socket: answers by number, and how the other end went."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done when nothing more will come: why, as an end of "the system …"."""
        self.lost = asyncio.Event()
        """Set when the socket is closed, and so nothing can be sent either."""
        self._lines = Lines(wire.LINE_BYTES_MAX)
        self.transaction: Transaction = "none"
        """Where the session's stands, as the last answer said."""
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._news: dict[int, News] = {}
        self._asked = 0
        self._transport: asyncio.Transport | None = None

    async def ask(self, do: str, news: News | None = None, **facts: Any) -> dict[str, Any]:
        """Sends a message and waits for its answer. Raises BackendError; not started when it could not be sent."""
        if self.ended.done():
            raise BackendError(Failure(FailureKind.DEAD, f"the system {self.ended.result()}", started=False))
        assert self._transport is not None
        self._asked += 1
        number = self._asked
        coming: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = coming
        if news is not None:
            self._news[number] = news
        try:
            self._transport.write(wire.encode(id=number, do=do, **facts))
            answer = await coming
        finally:
            del self._answers[number]
            self._news.pop(number, None)
        if "error" in answer:
            raise BackendError(wire.decode_failure(answer["error"]))
        return answer

    async def part(self) -> None:
        """Asks the system to drop the session, and returns when nobody is there any more. May be repeated."""
        if self.lost.is_set():
            return
        assert self._transport is not None
        self._transport.write(wire.encode(do="close"))
        await asyncio.wait({self.ended})
        pause = KNOCK_SECONDS
        while not self.lost.is_set():
            self._transport.write(b"\n")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self.lost.wait()
            pause = min(2 * pause, KNOCK_SECONDS_MAX)

    def abandon(self) -> None:
        """Closes the socket, whatever the other side thinks of it."""
        if self._transport is not None:
            self._transport.abort()

    # What the loop tells it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it

    def data_received(self, data: bytes) -> None:
        try:
            for line in self._lines.feed(data):
                self._take(wire.decode(line))
        except (wire.ProtocolError, LineTooLongError) as error:
            self._end(f"broke the protocol: {error}")
            self.abandon()

    def _take(self, answer: dict[str, Any]) -> None:
        """Nobody waits for what was cancelled, and nobody wants news of it."""
        number = answer.get("id", 0)
        if "news" in answer:
            _tell(self._news.get(number), answer)
            return
        self.transaction = answer.get("transaction", self.transaction)
        waiting = self._answers.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def eof_received(self) -> bool:
        self._end("ended the conversation")
        return True  # our own side stays open, to knock with

    def connection_lost(self, error: Exception | None) -> None:
        self._end("ended the conversation" if error is None else f"broke the conversation off: {_words(error)}")
        self.lost.set()

    def _end(self, why: str) -> None:
        if self.ended.done():
            return
        self.ended.set_result(why)
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_result({"error": wire.encode_failure(Failure(FailureKind.DEAD, f"the system {why}"))})


@dataclass(slots=True, eq=False)
class RemoteConnection(SimulatedConnection):
    """The client's end of a session behind a socket."""

    line: Line = field(kw_only=True)
    session: int = field(kw_only=True)
    """Its number on the system's side."""
    confirms_death: bool = field(kw_only=True)

    async def validate(self) -> None:
        await self.line.ask("validate")

    @property
    def told(self) -> Transaction:
        return self.line.transaction

    async def request(self, request: Request, news: News | None) -> Answer | Batch:
        return wire.decode_answer(await self.line.ask("request", news, **wire.encode_request(request)))

    async def fetch(self, rows: int, seconds: float) -> Batch:
        batch = wire.decode_answer(await self.line.ask("fetch", rows=rows, seconds=seconds))
        assert isinstance(batch, Batch), "rows were asked for"
        return batch

    async def leave(self) -> None:
        await self.line.ask("leave")

    async def transact(self, step: Boundary) -> None:
        await self.line.ask(step)

    async def stop(self) -> bool:
        answer = await self.line.ask("stop")
        return bool(answer["clean"])

    async def reset(self) -> bool:
        answer = await self.line.ask("reset")
        return bool(answer["clean"])

    async def close(self, force: bool) -> bool:
        try:
            await self.line.part()
        except asyncio.CancelledError:
            if force:
                self.line.abandon()
            raise
        return self.confirms_death

    async def census(self, left: Iterable[Tag]) -> Mapping[Tag, bool]:
        """Which of these owners the system still has a session of; nothing of those that it cannot tell."""
        asked = list(left)
        answer = await self.line.ask("census", owners=[str(tag) for tag in asked])
        return {tag: there for tag, there in zip(asked, answer["there"], strict=True) if there is not None}

    def note_end(self, ended: "asyncio.Future[str]") -> None:
        """Nothing more will come: whoever looks while it idles shall see it."""
        self.broken = ended.result()


async def open_connection(tag: Tag, address: str) -> RemoteConnection:
    """Connects and logs in. When that fails or is cancelled, it waits until the system has forgotten the attempt."""
    # A task of its own: a connect that is cancelled half-way may have arrived on the other side.
    reaching = asyncio.ensure_future(_reach(address))
    try:
        line = await asyncio.shield(reaching)
        granted = await line.ask("login", owner=str(tag))
    except BaseException:
        await to_the_end(_withdraw(reaching))
        raise
    connection = RemoteConnection(tag, line=line, session=granted["session"], confirms_death=granted["confirms_death"])
    line.ended.add_done_callback(connection.note_end)
    return connection


async def _reach(address: str) -> Line:
    host, _, port = address.rpartition(":")
    try:
        _, line = await asyncio.get_running_loop().create_connection(Line, host.strip("[]"), int(port))
    except OSError as error:
        words = f"the system cannot be reached: {_words(error)}"
        raise BackendError(Failure(FailureKind.DEAD, words, started=False)) from None
    return line


async def _withdraw(reaching: "asyncio.Task[Line]") -> None:
    try:
        async with asyncio.timeout(GIVE_UP_SECONDS):
            line = await reaching
            await line.part()
    except (BackendError, TimeoutError):
        pass  # it never arrived, or nobody can find out more
    finally:
        if reaching.done() and not reaching.cancelled() and reaching.exception() is None:
            reaching.result().abandon()


def _tell(news: News | None, told: dict[str, Any]) -> None:
    if news is not None and "progress" in told:
        news.progress(*told["progress"])
    elif news is not None:
        news.log(*told["log"])


def _words(error: BaseException) -> str:
    """The machine's own words without any address."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else type(error).__name__
