"""The adapter of a simulated system: a client library's side of it, whether the system is here or elsewhere."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pooler.backends import base, shared, streams
from pooler.backends.base import (
    Answer,
    BackendError,
    Notes,
    Notification,
    Operation,
    Tag,
    Traits,
    Verdict,
    Window,
    Work,
)
from pooler.backends.simulated import classify, local, remote
from pooler.backends.simulated.connection import Boundary, SimulatedConnection
from pooler.backends.simulated.ledger import Batch
from pooler.backends.simulated.methods import Request
from pooler.backends.simulated.settings import Settings
from pooler.backends.simulated.system import System
from pooler.backends.tables import Page


@dataclass(frozen=True, slots=True)
class Prepared:
    """An operation: one of the system's methods, and the bounds of a page."""

    method: str
    page_rows: int
    page_bytes: int


def build(settings: base.Settings, system: System | None = None) -> "SimulatedAdapter":
    """Makes the adapter of a system: of a given one, of one at an address, or of a new one with these manners."""
    assert isinstance(settings, Settings)
    if settings.address is not None:
        return SimulatedAdapter(settings.address, settings.streams)
    return SimulatedAdapter(system or System(settings), settings.streams)


class SimulatedAdapter(shared.Adapter[SimulatedConnection, Prepared]):
    """Sessions of one simulated system: one in this process, or the one at an address."""

    traits = Traits(
        io="async", affinity="none", cancel="native", reset="full", tx="local", fate="shared", orphans="none"
    )

    def __init__(self, far_side: System | str, streams: int = 1) -> None:
        self._far_side = far_side
        self.traits = replace(self.traits, streams=streams)
        if isinstance(far_side, str):
            self.traits = replace(self.traits, orphans="listed")

    @property
    def system(self) -> System:
        """The far side, to watch and to change; only of a system in this process."""
        assert isinstance(self._far_side, System), f"the system at {self._far_side} has a control port for that"
        return self._far_side

    def prepare(self, operation: Operation) -> Prepared:
        """Nothing is compiled but the bounds."""
        return Prepared(operation.method or "", operation.page_rows, operation.page_bytes)

    async def open(self, tag: Tag) -> SimulatedConnection:
        """Logs in."""
        connection: SimulatedConnection
        if isinstance(self._far_side, System):
            connection = await local.open_connection(tag, self._far_side)
        else:
            connection = await remote.open_connection(tag, self._far_side)
        connection.streams = self.traits.streams
        return connection

    async def validate(self, connection: SimulatedConnection) -> None:
        """Asks whether the session can serve."""
        await connection.validate()

    async def execute(self, connection: SimulatedConnection, work: Work) -> Answer:
        """Has the system do one of its methods."""
        prepared: Prepared = work.prepared
        if work.in_transaction:
            connection.expect_transaction()
        connection.dirty = connection.dirty or prepared.method == "leave_trace"
        batch_rows = work.window.batch_rows if work.window is not None else 0
        bounds = (prepared.page_rows, prepared.page_bytes, batch_rows)
        request = Request(prepared.method, work.arguments, *bounds, work.input)
        try:
            first = await connection.request(request, work.news)
            if isinstance(first, Answer):
                return first
            assert work.window is not None, "only a window is answered with a batch"
            return await _passed_on(connection, request, first, work.window)
        finally:
            if work.in_transaction:
                connection.transaction = connection.told

    def submit(self, connection: SimulatedConnection, work: Work, done: shared.Done) -> None:
        """Has the system do one of its methods, behind those that it has been asked for before."""
        connection.pipe.send(partial(_page, connection, work), done)

    def at_work(self, connection: SimulatedConnection) -> shared.Done | None:
        """Whose method the system is doing."""
        return connection.pipe.at_work

    def leave_behind(self, connection: SimulatedConnection) -> None:
        """What was sent is done nevertheless, as in a server."""
        connection.pipe.leave_behind()

    async def cancel(self, connection: SimulatedConnection) -> Verdict:
        """Asks the system to stop the session's work."""
        await connection.pipe.end()
        stopped = await connection.stop()
        connection.transaction = connection.told
        return Verdict.CLEAN if stopped else Verdict.DISCARD

    async def reset(self, connection: SimulatedConnection) -> Verdict:
        """Removes the trace of the last user."""
        if await connection.pipe.end() and not await connection.stop():
            return Verdict.DISCARD
        if not await connection.reset():
            return Verdict.DISCARD
        connection.dirty = False
        connection.transaction = connection.told
        return Verdict.CLEAN

    async def begin(self, connection: SimulatedConnection) -> None:
        """What is put from now on is kept by `commit`, or not at all."""
        connection.dirty = True
        await self._transact(connection, "begin")

    async def commit(self, connection: SimulatedConnection) -> None:
        """Keeps it."""
        connection.expect_transaction()
        await self._transact(connection, "commit")

    async def rollback(self, connection: SimulatedConnection) -> None:
        """Forgets it."""
        await self._transact(connection, "rollback")

    async def _transact(self, connection: SimulatedConnection, step: Boundary) -> None:
        try:
            await connection.transact(step)
        finally:
            connection.transaction = connection.told

    async def listen(self, connection: SimulatedConnection, channels: Collection[str]) -> None:
        """Hears what the system says on these channels."""
        connection.dirty = True
        await connection.listen(channels)

    async def heard(self, connection: SimulatedConnection) -> Sequence[Notification]:
        """Waits until it has said something."""
        return await connection.heard()

    async def close(self, connection: SimulatedConnection, force: bool) -> bool:
        """Logs out; the system takes its time to forget the session, by force or not."""
        await connection.pipe.end()
        return await connection.close(force)

    async def census(self, connection: SimulatedConnection | None, left: Mapping[Tag, Notes]) -> Mapping[Tag, bool]:
        """Asks a system at an address which sessions it still has. It ends none: it lets go of them by itself."""
        assert isinstance(connection, remote.RemoteConnection), "a system in this process leaves nothing behind"
        return await connection.census(left)

    def classify(self, error: BaseException) -> base.Failure:
        """Says what the system's errors mean."""
        return classify.classify(error)


async def _page(connection: SimulatedConnection, work: Work) -> Answer:
    """A result that fits one page, or none at all."""
    prepared: Prepared = work.prepared
    bounds = (prepared.page_rows, prepared.page_bytes)
    first = await connection.request(Request(prepared.method, work.arguments, *bounds, prepared.page_rows + 1), None)
    if isinstance(first, Answer):
        return first
    page = Page(first.columns, *bounds)
    page.add(first.rows)
    if first.more:
        await connection.leave()
    if first.more or page.truncated:
        raise shared.NoPageError
    return Answer(page.body())


async def _passed_on(connection: SimulatedConnection, request: Request, batch: Batch, window: Window) -> Answer:
    """The first page; the window has had all rows then, or as many as it wanted."""
    window.open(batch.columns)
    while True:
        try:
            if batch.rows:
                window.add(batch.rows)
        except BackendError:
            await connection.leave()
            raise
        if not batch.more:
            return Answer(window.close())
        if not await streams.wants_more(window):
            await connection.leave()
            return Answer(window.close(more=True))
        batch = await connection.fetch(request.batch_rows, request.seconds)
