"""The adapter of worker processes: what the pool asks of a worker, in the words of the worker protocol."""

from dataclasses import replace
from typing import Any

import orjson
import structlog

from pooler.backends import base
from pooler.backends.base import Answer, Caller, FailureKind, Input, Operation, Tag, Traits, Verdict, Work
from pooler.backends.process import classify, pages, results
from pooler.backends.process.connection import STREAMS_MAX, WorkerConnection, open_connection
from pooler.backends.process.settings import Settings

log = structlog.get_logger(__name__)


def build(settings: base.Settings) -> "ProcessAdapter":
    """Makes the adapter. Starts nothing."""
    assert isinstance(settings, Settings)
    return ProcessAdapter(settings)


class ProcessAdapter(base.Adapter[WorkerConnection, results.Prepared]):
    """Workers started by one command."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.traits = Traits(
            io="process",
            affinity="process",
            # A worker that declares `cancel` is asked first; which one does, nobody knows before it has started.
            cancel="kill",
            reset="full" if settings.reset == "respawn" else "none",
            tx="none",
            fate="own",
            orphans="processes",
            streams=STREAMS_MAX,
        )
        self._hinted = False

    def prepare(self, operation: Operation) -> results.Prepared:
        """Compiles the schema that an operation promises."""
        return results.prepare(operation)

    async def open(self, tag: Tag) -> WorkerConnection:
        """Starts a worker and waits for its answer to `open`."""
        connection = await open_connection(tag, self.settings)
        self._hint(connection)
        return connection

    async def validate(self, connection: WorkerConnection) -> None:
        """Pings a worker that declares `ping`; of another one only its end can be noticed."""
        if connection.broken is not None:
            raise connection.error(FailureKind.DEAD, connection.broken)
        if "ping" in connection.declared.methods:
            await connection.request("ping", {})

    async def execute(self, connection: WorkerConnection, work: Work) -> Answer:
        """Asks for the operation's method, and gives back what is left of a page that was cut."""
        prepared: results.Prepared = work.prepared
        # With several streams a reset would have to wait for the other requests: a worker that declares them promises
        # that no request leaves anything behind.
        connection.dirty = connection.declared.streams == 1
        reply = await connection.request(prepared.method, self._params(connection, work), work.caller, work.news)
        if work.window is not None and prepared.read and results.is_page(reply.result):
            return Answer(await pages.bring(connection, reply, work, work.window))
        await connection.stop_page(reply.id)
        return results.answer(reply.result, prepared)

    async def cancel(self, connection: WorkerConnection) -> Verdict:
        """Asks a worker that declares `cancel` to stop; any other one has to be replaced."""
        return await connection.cancel()

    async def reset(self, connection: WorkerConnection) -> Verdict:
        """Asks a worker that declares `reset`; any other one is replaced, unless nothing can be left in it."""
        if "reset" in connection.declared.methods:
            await connection.request("reset", {})
        elif connection.dirty and self.settings.reset == "respawn":
            return Verdict.DISCARD
        connection.dirty = False
        return Verdict.CLEAN

    async def close(self, connection: WorkerConnection, force: bool) -> bool:
        """Ends the worker and its whole process group. True when they are reaped and gone."""
        return await (connection.end_by_force() if force else connection.end())

    def classify(self, error: BaseException) -> base.Failure:
        """Says what an exception means; a worker has mostly said so itself."""
        failure = classify.classify(error)
        return replace(failure, message=self.settings.mask(failure.message))

    def _params(self, connection: WorkerConnection, work: Work) -> dict[str, Any]:
        if not connection.declared.meta:
            return dict(work.arguments)
        return {**work.arguments, "_meta": _meta(work.caller, work.input or Input())}

    def _hint(self, connection: WorkerConnection) -> None:
        """Tells once what a worker without `reset` costs: a start for each call, which nobody expects of a pool."""
        declared = connection.declared
        if self._hinted or "reset" in declared.methods or declared.streams > 1 or self.settings.reset == "none":
            return
        self._hinted = True
        log.warning(
            "the worker declares no reset, so it is replaced after each call; "
            "declare `reset`, or set `reset: none` if no call can notice the one before it",
            backend=connection.tag.backend,
        )


def _meta(caller: Caller, given: Input) -> dict[str, Any]:
    """Who asks, what his client can be asked, and what it has answered; without what is not there."""
    told = {
        "traceparent": caller.traceparent,
        "clientCapabilities": orjson.loads(given.capabilities or b"null"),
        "inputResponses": orjson.loads(given.responses or b"null"),
        "requestState": given.state,
    }
    meta = {"tenant": caller.tenant, "principal": caller.principal, "requestId": caller.request_id}
    return {**meta, **{name: value for name, value in told.items() if value not in ("", None)}}
