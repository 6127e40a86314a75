"""Runs in the store: a record of each, its events beside it, and what can be read of them by a later process."""

import orjson

from pooler.clock import Clock
from pooler.errors import Fault, Reason
from pooler.runtime.handles import REMEDIES
from pooler.runtime.runs.happenings import Accepted, Done, Event, pack, unpack
from pooler.runtime.runs.log import FORGOTTEN, LogBounds, RunLog
from pooler.runtime.runs.run import Identity, Run, Terms
from pooler.runtime.store.base import Store
from pooler.runtime.turns import Timing

KIND = "run"
SLACK_SECONDS = 60.0
"""How much longer than needed a handle and a record are good, for ends that take their time."""


class Archive:
    """What a pooler has stored of its runs. `wall`: Unix time."""

    def __init__(self, store: Store, wall: Clock) -> None:
        self.store = store
        self._wall = wall

    async def record(self, run: Identity, terms: Terms, seconds: float, updated_at: float) -> None:
        """Notes a run that ends within so many seconds, until it need not be kept any more. Raises Fault (STORE_FULL).

        Its events are kept only once this is there, and as long as it is.
        """
        facts = {
            "operation": run.operation,
            "tenant": run.tenant,
            "created": run.created_at,
            "updated": updated_at,
            "keep": terms.keep_seconds,
        }
        until = self._wall() + seconds + terms.keep_seconds + SLACK_SECONDS
        await self.store.put(KIND, run.id, orjson.dumps(facts), until)

    async def forget(self, run_id: str) -> None:
        """Removes a run and its events."""
        await self.store.delete(KIND, run_id)

    async def recall(self, run_id: str) -> Run | None:
        """A run of an earlier process. One that had not ended is lost, and says so from now on."""
        if (record := await self.store.get(KIND, run_id)) is None:
            return None
        stored = await self.store.read(run_id, 0)
        events = [Event(seq, unpack(data)) for seq, data in stored if data != FORGOTTEN]
        if not (events and isinstance(events[-1].what, Done)):
            end = Event(stored[-1][0] + 1 if stored else 1, Done(lost(), Timing()))
            await self.store.append(run_id, end.seq, pack(end.what))
            events.append(end)
        return _run(run_id, orjson.loads(record), events)


def lost() -> Fault:
    """What became of a run whose pooler has been restarted under it."""
    return Fault(
        Reason.HANDLE_LOST,
        "This run was lost with its pooler, which has been restarted. What it had begun in the backend may or may not "
        f"have been done: look before you repeat what writes; otherwise {REMEDIES[KIND]}.",
    )


def _run(run_id: str, facts: dict[str, str | float], events: list[Event]) -> Run:
    began = events[0].what
    accepted = began if isinstance(began, Accepted) else Accepted("", "", b"")
    identity = Identity(
        id=run_id,
        handle=accepted.run,
        operation=str(facts["operation"]),
        tenant=str(facts["tenant"]),
        created_at=float(facts["created"]),
        note=accepted.note,
        name=accepted.name,
    )
    terms = Terms(keep_seconds=float(facts["keep"]))
    run = Run(identity, terms, RunLog(run_id, LogBounds(), None, tuple(events)))
    run.updated_at = float(facts["updated"])
    return run
