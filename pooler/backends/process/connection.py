"""A connection to a worker: its opening and closing, and the requests that are under way on its pipes.

It never asks twice, and never lets a worker serve on that broke the protocol: what such a worker says means nothing.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog
from pydantic import BaseModel, Field, ValidationError

from pooler.backends.base import BackendError, Caller, Connection, Failure, FailureKind, News, Tag, Verdict
from pooler.backends.process import notes, wire
from pooler.backends.process.classify import brief, refusal
from pooler.backends.process.settings import Settings
from pooler.runtime.chatter import Chatter
from pooler.runtime.endings import to_the_end
from pooler.runtime.workers import Program, Worker

CANCEL_SECONDS = 2.0
"""How long a worker that declared `cancel` may take to answer the cancelled request. Part of the worker protocol."""
REAP_SECONDS = 5.0
"""How long a killed group may take to be gone; only a process stuck in the kernel needs more than milliseconds."""
STREAMS_MAX = 256
LINE_CHARS_SHOWN = 80
"""How much of a line that broke the protocol is quoted."""


class Declaration(BaseModel, frozen=True, extra="ignore"):
    """What a worker says of itself when it answers `open`."""

    protocol: Literal[1] = 1
    methods: frozenset[str] = frozenset()
    meta: bool = False
    streams: int = Field(default=1, ge=1)


@dataclass(frozen=True, slots=True)
class Pending:
    """A request that has not been answered."""

    future: asyncio.Future[wire.Reply]
    caller: Caller | None
    news: News | None
    cursor: int
    """The request that it belongs to: for the next page of a result, the one that was answered with its first."""


@dataclass(slots=True, eq=False)
class WorkerConnection(Connection):
    """One worker. `broken` completes the sentence "the worker …"."""

    settings: Settings = field(kw_only=True)
    log: structlog.typing.FilteringBoundLogger = field(kw_only=True)
    declared: Declaration = field(default_factory=Declaration)
    cursors: set[int] = field(default_factory=set)
    """Requests whose answer was a page with more to come: the worker still holds the rest."""
    _pending: dict[int, Pending] = field(default_factory=dict)
    _abandoned: set[int] = field(default_factory=set)
    """Pending requests whose caller has left."""
    _forsaken: set[int] = field(default_factory=set)
    """Cursors whose caller has left."""
    _asked: int = 0
    _worker: Worker | None = None
    _chatter: Chatter = field(init=False)

    def __post_init__(self) -> None:
        self._chatter = Chatter(self.log, self.settings.mask, asyncio.get_running_loop().time)

    @property
    def worker(self) -> Worker:
        """The process itself."""
        assert self._worker is not None, "a connection is used only after it was opened"
        return self._worker

    async def open(self) -> None:
        """Starts the worker and waits until it has logged in. Raises BackendError or SpawnError, and leaves nothing."""
        settings = self.settings
        environment = {name: value.get_secret_value() for name, value in settings.environment.items()}
        program = Program(settings.command, environment, settings.directory, settings.mask, self.tag)
        self._worker = await Worker.start(program, self, self.log)
        try:
            self.declared = self._declaration(await self.request("open", {}))
        except BaseException:
            await to_the_end(self.end_by_force())
            raise
        self.streams = min(self.declared.streams, STREAMS_MAX)

    async def request(
        self,
        method: str,
        params: Mapping[str, Any],
        caller: Caller | None = None,
        news: News | None = None,
        cursor: int | None = None,
    ) -> wire.Reply:
        """Asks and waits for the answer, however long it takes. Raises BackendError for an error or an end.

        Cancelled, it leaves a request under way that `cancel` deals with.
        """
        if self.broken is not None:
            raise self.error(FailureKind.DEAD, self.broken, started=False)
        number = self._asked
        self._asked += 1
        future: asyncio.Future[wire.Reply] = asyncio.get_running_loop().create_future()
        self._pending[number] = Pending(future, caller, news, number if cursor is None else cursor)
        self.worker.write(wire.request(number, method, params))
        try:
            # Shielded: a caller who leaves must not end the wait for an answer that will still come.
            reply = await asyncio.shield(future)
        except asyncio.CancelledError:
            if not future.done():
                self._abandoned.add(number)
            raise
        if reply.error is not None:
            raise BackendError(refusal(reply.error, self.settings.mask))
        return reply

    async def next_page(self, number: int, caller: Caller, news: News | None) -> wire.Reply:
        """Asks for more of what a request was answered with. An error instead of a page is the end of it."""
        return await self.request("next", {"id": number}, caller, news, cursor=number)

    async def stop_page(self, number: int) -> None:
        """Gives back what is left of a page that a request was answered with, if anything is."""
        if number not in self.cursors:
            return
        try:
            await self.request("stop", {"id": number})
        except BackendError as error:
            # The page is good and its caller gets it; it is the next caller who must not meet its rest.
            self._break(f"did not stop a page when asked to: {error.failure.message}")
        except asyncio.CancelledError:
            self.forsake(number)
            raise
        else:
            self.cursors.discard(number)
            self._forsaken.discard(number)

    def forsake(self, number: int) -> None:
        """The caller of a request has left it between two pages: `cancel` gives them back."""
        if number in self.cursors:
            self._forsaken.add(number)

    async def cancel(self) -> Verdict:
        """Stops the requests whose callers have left. CLEAN: each of them was answered, and nothing of it remains."""
        left = {number: self._pending[number].future for number in self._abandoned}
        if left and "cancel" in self.declared.methods and self.broken is None:
            for number in left:
                self.worker.write(wire.notification("cancel", {"id": number}))
            await asyncio.wait(left.values(), timeout=CANCEL_SECONDS)
        if self.broken is None and not self._abandoned:
            await self._give_back()
        usable = self.broken is None and not self._abandoned and not self._forsaken
        return Verdict.CLEAN if usable else Verdict.DISCARD

    async def _give_back(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_SECONDS):
                for number in list(self._forsaken):
                    await self.stop_page(number)

    async def end(self) -> bool:
        """Ends the worker politely, step by step, and by force when it stays. True: nothing of it is left."""
        patience, worker = self.settings.close_seconds, self.worker
        if self.broken is None:
            await self._say_close(patience)
        worker.close_input()
        if not await worker.exited(patience):
            worker.terminate()
            await worker.exited(patience)
        return await self.end_by_force()

    async def end_by_force(self) -> bool:
        """Kills the whole group. True: nothing of it is left."""
        self._break("was ended by the pooler")
        self.worker.kill()
        gone = await self.worker.gone(REAP_SECONDS)
        if not gone:
            self.log.error("worker survives SIGKILL", pid=self.worker.pid, seconds=REAP_SECONDS)
        return gone

    def error(self, kind: FailureKind, how: str, started: bool = True) -> BackendError:
        """A failure of the worker as a whole; `how` completes "the worker …"."""
        return BackendError(Failure(kind, brief(self.settings.mask(f"the worker {how}")), started=started))

    # What the worker says.

    def line(self, line: bytes) -> None:
        """Takes one line of output: an answer, or a notification. After a fault nothing it says is listened to."""
        if self.broken is not None:
            return
        try:
            message = wire.parse(line)
            if isinstance(message, wire.Reply):
                self._answer(message)
            else:
                self._note(message)
        except wire.GarbageError as error:
            self.log.warning("worker broke the protocol", fault=self.settings.mask(str(error)))
            self._break(f"{error}: {self.settings.mask(line.decode(errors='replace'))[:LINE_CHARS_SHOWN]!r}")

    def ended(self, how: str) -> None:
        """Nothing more will come."""
        self._break(how)

    def _answer(self, reply: wire.Reply) -> None:
        pending = self._pending.pop(reply.id, None)
        if pending is None:
            raise wire.GarbageError(f"answered request {reply.id}, which nobody waits for")
        cursor, left = pending.cursor, reply.id in self._abandoned
        self._abandoned.discard(reply.id)
        if has_more(reply.result):
            self.cursors.add(cursor)
            if left:
                self.forsake(cursor)
        elif cursor != reply.id:
            self.cursors.discard(cursor)
            self._forsaken.discard(cursor)
        pending.future.set_result(reply)

    def _note(self, note: wire.Note) -> None:
        """Whatever else a later worker may send is none of our business."""
        pending = self._about(note.id)
        if pending is not None and pending.news is not None:
            notes.tell(note.method, note.params, pending.news, self.settings.mask)
        if note.method != "log":
            return
        facts = (
            {"tenant": pending.caller.tenant, "request_id": pending.caller.request_id}
            if pending and pending.caller
            else {}
        )
        words = note.params.get("message", note.params.get("data", ""))
        self._chatter.say(str(note.params.get("level", "info")), "worker log", str(words), **facts)

    def _about(self, number: int | None) -> Pending | None:
        """Of what a worker speaks: the request itself, or one for the next page of what it was answered with."""
        if number is None:
            return None
        following = (pending for pending in self._pending.values() if pending.cursor == number)
        return self._pending.get(number) or next(following, None)

    def _break(self, how: str) -> None:
        """Ends the conversation: whoever waits for an answer hears why there will be none."""
        if self.broken is None:
            self.broken = how
            self._chatter.account()
        for pending in self._pending.values():
            pending.future.set_exception(self.error(FailureKind.DEAD, self.broken))
            pending.future.exception()  # a caller who has left reads it never, and that is no fault
        self._pending.clear()
        self._abandoned.clear()

    def _declaration(self, reply: wire.Reply) -> Declaration:
        try:
            return Declaration.model_validate(reply.result)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'result'}: {e['msg']}" for e in error.errors())
            raise self.error(
                FailureKind.BUG, f"answered `open` with what this pooler does not speak ({faults})"
            ) from error

    async def _say_close(self, patience: float) -> None:
        try:
            async with asyncio.timeout(patience):
                await self.request("close", {})
        except (BackendError, TimeoutError):
            pass  # it has ended, knows no such method or takes too long: the end of its input is the next step


def has_more(result: Any) -> bool:
    """Whether a result is a page whose rest the worker still holds."""
    return isinstance(result, dict) and result.get("resultType") == "page" and result.get("more") is True


async def open_connection(tag: Tag, settings: Settings) -> WorkerConnection:
    """Starts a worker for one slot and logs it in."""
    log = structlog.get_logger(__name__).bind(backend=tag.backend, slot=tag.slot)
    connection = WorkerConnection(tag, settings=settings, log=log)
    await connection.open()
    return connection
