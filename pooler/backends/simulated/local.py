"""Connections to a system in this process: calls instead of messages, so that virtual time suffices for them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

from pooler.backends.base import Answer, News, Notification, Tag, Transaction
from pooler.backends.simulated.connection import Boundary, SimulatedConnection
from pooler.backends.simulated.ledger import Batch
from pooler.backends.simulated.methods import Request, perform
from pooler.backends.simulated.system import Job, Session, System
from pooler.runtime.endings import to_the_end


@dataclass(slots=True, eq=False)
class LocalConnection(SimulatedConnection):
    """The client's end of a session that can be reached by hand."""

    session: Session = field(kw_only=True)
    system: System = field(kw_only=True)

    async def validate(self) -> None:
        await self.system.validate(self.session)

    @property
    def told(self) -> Transaction:
        return self.session.transaction

    async def request(self, request: Request, news: News | None) -> Answer | Batch:
        job = Job(partial(perform, request, self.system.ledger), request.seconds, request.steps, news)
        answer: Answer | Batch = await self.system.request(self.session, job)
        return answer

    async def fetch(self, rows: int, seconds: float) -> Batch:
        return await self.system.fetch(self.session, rows, seconds)

    async def leave(self) -> None:
        self.system.leave(self.session)

    async def transact(self, step: Boundary) -> None:
        await self.system.transact(self.session, step)

    async def listen(self, channels: Collection[str]) -> None:
        await self.system.listen(self.session, channels)

    async def heard(self) -> Sequence[Notification]:
        return await self.system.heard(self.session)

    async def stop(self) -> bool:
        return await self.system.stop(self.session)

    async def reset(self) -> bool:
        return await self.system.reset(self.session)

    async def close(self, force: bool) -> bool:
        self.system.drop(self.session)
        if not self.system.manners.confirm_death:
            return False
        await self.session.gone.wait()
        return True


async def open_connection(tag: Tag, system: System) -> LocalConnection:
    """Logs in. When that fails or is cancelled, it waits until the system has forgotten the attempt."""
    session = system.arrive(str(tag))
    try:
        await system.login(session)
    except BaseException:
        system.drop(session)
        await to_the_end(session.gone.wait())
        raise
    return LocalConnection(tag, session=session, system=system)
