"""All runs of a pooler: begun, found by their ids, kept for a while after their end, and forgotten.

With a store, what must outlive this process is there before anybody is told of it: a run that has ended can be read
after a restart, and one that had not ends with the honest word that it is lost. Runs that end with their caller are
never stored. It decides nothing of what happens to a run.
"""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import structlog

from pooler.clock import Clock
from pooler.errors import Fault, Reason
from pooler.runtime.conversations.room import Conversations
from pooler.runtime.dispatch import Dispatcher
from pooler.runtime.handles import Sealer, expired
from pooler.runtime.requests import Request
from pooler.runtime.runs.archive import KIND, SLACK_SECONDS, Archive, lost
from pooler.runtime.runs.happenings import Event
from pooler.runtime.runs.live import LiveRun, Surroundings
from pooler.runtime.runs.lodging import Lodging
from pooler.runtime.runs.log import LogBounds, RunLog
from pooler.runtime.runs.outlook import Outlook
from pooler.runtime.runs.run import Identity, Run, Terms
from pooler.runtime.runs.state import RunState
from pooler.runtime.store.base import Store

log = structlog.get_logger(__name__)

NOTE_BYTES_MAX = 16 << 10
BOOT_BYTES = 4
CHANCE_BYTES = 8
ID_CHARACTERS = 2 * (BOOT_BYTES + CHANCE_BYTES)
"""Of the id of a run without a conversation: it begins with the name of the process that made it."""
RECALLED_SECONDS = 60.0
"""How long a run that was read from the store stays in memory."""


@dataclass(frozen=True, slots=True)
class RunBounds:
    """What runs may take. `keep_seconds`: after their end, unless their starter says otherwise."""

    keep_seconds: float = 300.0
    tenant_max: int = 1000
    tenant_bytes: int = 64 << 20
    log: LogBounds = field(default_factory=LogBounds)


class Runs:
    """`store`: None where no run needs to outlive this process. `wall`: Unix time."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        sealer: Sealer,
        wall: Clock,
        bounds: RunBounds | None = None,
        store: Store | None = None,
        conversations: Conversations | None = None,
    ) -> None:
        self.bounds = bounds or RunBounds()
        self._sealer = sealer
        self._wall = wall
        self._conversations = conversations
        self._archive = Archive(store, wall) if store is not None else None
        self._boot = secrets.token_hex(BOOT_BYTES)
        self._around = Surroundings(dispatcher, dispatcher.clock, wall, Outlook())
        self._runs: dict[str, Run] = {}
        self._tenants: defaultdict[str, dict[str, Run]] = defaultdict(dict)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        """Of those that have ended: when they are forgotten."""
        self._lodgings: dict[str, Lodging] = {}
        self._flushing: dict[str, asyncio.Task[None]] = {}

    def __repr__(self) -> str:
        return f"<{len(self._runs)} runs of {len(self._tenants)} tenants>"

    def __iter__(self) -> Iterator[Run]:
        """Those under way and those that are kept, in no order."""
        return iter(self._runs.values())

    def __len__(self) -> int:
        return len(self._runs)

    async def start(
        self,
        request: Request,
        *,
        detach_grace_seconds: float | None = 0.0,
        await_input: bool = False,
        keep_seconds: float | None = None,
        note: bytes = b"",
        request_key: str = "",
    ) -> LiveRun:
        """Begins a run; its grace begins at once. One that belongs to a conversation is kept, and ends with it.

        `request_key`: the request's own name there, by which it can be taken back; or empty. Raises Fault like a call,
        before there is anything to follow; and when its tenant has as many as it may.
        """
        if len(note) > NOTE_BYTES_MAX:
            raise Fault(Reason.INVALID_ARGUMENTS, f"The note has {len(note)} bytes, and may have {NOTE_BYTES_MAX}.")
        passing = detach_grace_seconds == 0 and keep_seconds is None and not request.conversation
        keep = self.bounds.keep_seconds if keep_seconds is None else keep_seconds
        terms = Terms(detach_grace_seconds, await_input, keep, passing)
        lodging = self._lodge(request, request_key)
        identity = self._identity(request, note, keep, lodging)
        archive = self._archive if detach_grace_seconds != 0 or lodging is not None else None
        try:
            if archive is not None:
                await archive.record(identity, terms, request.timeout_seconds, identity.created_at)
            return self._begin(identity, terms, request, archive, lodging)
        except BaseException:
            if lodging is not None:
                lodging.gone()
            if archive is not None:
                await archive.forget(identity.id)
            raise

    def id_of(self, handle: str, tenant: str, principal: str) -> str:
        """Which run a handle stands for. Raises Fault when it is not this caller's, or no handle at all."""
        return self._sealer.open(handle, KIND, tenant, principal).decode()

    async def find(self, run_id: str) -> Run:
        """A run by its id. Raises Fault: HANDLE_EXPIRED when it is over, HANDLE_LOST when a restart took it along."""
        if (known := self._runs.get(run_id)) is not None:
            return known
        recalled = await self._archive.recall(run_id) if self._archive is not None else None
        if (known := self._runs.get(run_id)) is not None:  # somebody else has asked for it meanwhile
            return known
        if recalled is not None:
            self._install(recalled)
            self._forget_after(run_id, RECALLED_SECONDS)
            return recalled
        if len(run_id) == ID_CHARACTERS and not run_id.startswith(self._boot):
            raise lost()
        return expired(KIND)

    async def follow(self, run_id: str, after: int) -> AsyncIterator[Event]:
        """A run's events from after this number, to its end. Raises Fault like `find`."""
        follower = (await self.find(run_id)).follow(after)
        try:
            async for event in follower:
                yield event
        finally:
            follower.leave()

    async def state(self, run_id: str) -> RunState:
        """How a run stands. Raises Fault like `find`."""
        return (await self.find(run_id)).state()

    async def cancel(self, run_id: str) -> RunState:
        """Stops a run's work. Harmless when it has ended. Raises Fault like `find`."""
        run = await self.find(run_id)
        run.cancel()
        return run.state()

    async def answer(self, run_id: str, responses: bytes) -> RunState:
        """Gives a run its user's answers. Raises Fault like `find`, and for what are no answers."""
        run = await self.find(run_id)
        run.answer(responses)
        return run.state()

    async def end(self, run_id: str) -> None:
        """Cancels a run and forgets it at once: its handle is worthless from now on."""
        if (run := self._runs.get(run_id)) is not None:
            run.cancel()
        self.forget(run_id)
        if self._archive is not None:
            await self._archive.forget(run_id)

    def leave(self, conversation: str) -> None:
        """A conversation is over: what was read from the store of its runs is forgotten. Live ones end themselves."""
        for run_id, run in list(self._runs.items()):
            if run_id.startswith(f"{conversation}.") and not isinstance(run, LiveRun):
                self.forget(run_id)

    def forget(self, run_id: str) -> None:
        """Lets go of a run here. Whoever follows it reads on to its end."""
        if (run := self._runs.pop(run_id, None)) is None:
            return
        if (timer := self._timers.pop(run_id, None)) is not None:
            timer.cancel()
        if (lodging := self._lodgings.pop(run_id, None)) is not None:
            lodging.gone()
        own = self._tenants[run.identity.tenant]
        del own[run_id]
        if not own:
            del self._tenants[run.identity.tenant]

    def drain(self) -> None:
        """The pooler stops: runs that wait for their user end."""
        for run in list(self._runs.values()):
            if isinstance(run, LiveRun):
                run.drain()

    async def close(self) -> None:
        """After the last call has ended: what happened is stored, and nothing is kept any more."""
        while self._flushing:
            await asyncio.wait(self._flushing.values())
        for run_id in list(self._runs):
            self.forget(run_id)

    def _begin(
        self, identity: Identity, terms: Terms, request: Request, archive: Archive | None, lodging: Lodging | None
    ) -> LiveRun:
        self._take_room(request.tenant)
        events = RunLog(identity.id, self.bounds.log, archive.store if archive is not None else None)
        run = LiveRun(identity, terms, events, self._around, self._changed)
        self._install(run)
        try:
            if lodging is not None:
                lodging.stay()
                self._lodgings[run.id] = lodging
            run.begin(request)
        except Fault:
            run.cancel()
            self.forget(run.id)
            raise
        return run

    def _lodge(self, request: Request, request_key: str) -> Lodging | None:
        """Its place in its conversation, if it has one. Raises Fault when that has ended, or is another's."""
        if not request.conversation:
            return None
        assert self._conversations is not None, "a pooler that knows conversations has told its runs of them"
        conversation = self._conversations.check(request.conversation, request.tenant, request.principal)
        return Lodging(self._conversations, conversation.key, request_key, self.end)

    def _identity(self, request: Request, note: bytes, keep: float, lodging: Lodging | None) -> Identity:
        run_id, now = self._boot + secrets.token_hex(CHANCE_BYTES), self._wall()
        name = ""
        if lodging is not None:
            run_id, name = lodging.name.id, lodging.name.name
        until = now + request.timeout_seconds + keep + SLACK_SECONDS
        handle = self._sealer.seal(KIND, run_id.encode(), request.tenant, request.principal, until)
        return Identity(run_id, handle, request.operation, request.tenant, now, note, name)

    def _install(self, run: Run) -> None:
        self._runs[run.id] = run
        self._tenants[run.identity.tenant][run.id] = run

    def _take_room(self, tenant: str) -> None:
        """Raises Fault when a tenant has as many runs as it may. One whose end has been heard gives way."""
        own, bounds = self._tenants.get(tenant, {}), self.bounds
        while len(own) >= bounds.tenant_max or (own and _size(own) > bounds.tenant_bytes):
            heard = next((run for run in own.values() if run.log.heard and not run.followers), None)
            if heard is None:
                raise Fault(
                    Reason.TOO_MANY_CALLS,
                    f"Tenant {tenant} has {len(own)} runs under way or kept, in {_size(own)} bytes; it may have "
                    f"{bounds.tenant_max} in {bounds.tenant_bytes}. Try again later.",
                    {"retry_after_ms": "1000"},
                )
            self.forget(heard.id)

    def _changed(self, run: LiveRun) -> None:
        """Something was added to a run's log, or its last follower has left."""
        if run.log.waiting and run.id not in self._flushing:
            self._flushing[run.id] = asyncio.get_running_loop().create_task(self._flush(run))
        if not run.ended or run.id not in self._runs:
            return
        if (lodging := self._lodgings.get(run.id)) is not None:
            lodging.over()
        if run.terms.passing:
            if not run.followers:
                self.forget(run.id)
        elif run.id not in self._timers:
            self._forget_after(run.id, run.terms.keep_seconds)

    def _forget_after(self, run_id: str, seconds: float) -> None:
        self._timers[run_id] = asyncio.get_running_loop().call_later(seconds, self.forget, run_id)

    async def _flush(self, run: LiveRun) -> None:
        assert self._archive is not None
        try:
            await run.log.flush()
            if run.ended and run.id in self._runs:
                await self._archive.record(run.identity, run.terms, 0.0, run.updated_at)
        except Fault as fault:
            log.warning("a run's end could not be recorded", run=run.id, error=fault.message)
        finally:
            del self._flushing[run.id]


def _size(runs: dict[str, Run]) -> int:
    return sum(run.log.size for run in runs.values())
