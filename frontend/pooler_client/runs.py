"""Runs: calls that are followed event by event, and can be followed again on any stream.

A stream that breaks is taken up after the last event that came, writes and reads alike, since the run exists already.
Before the first event the rule of `calls` holds, as for any call. Close what `run` and `attach` return
(`contextlib.aclosing`): that is how the pooler learns that nobody follows any more.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from grpc.aio import UnaryStreamCall

from frontend.auth import Caller
from frontend.errors import HANDLE_REASONS, PoolerError, result_too_large, way_interrupted
from frontend.events import Accepted, Done, Page, RunEvent, RunState
from frontend.logs import Logger
from frontend.pooler_client.calls import Call, Interrupted, repeated
from frontend.pooler_client.convert import context_of, request_of
from frontend.pooler_client.convert_runs import event_of, state_of
from frontend.pooler_client.trail import Trail
from frontend.pooler_client.way import Way, next_of
from protos.penstock.v1 import pooler_pb2 as pb

log = Logger(__name__)

SILENCE_SECONDS = 2.0
"""How long after a call's time the pooler may still say what the time went into."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a run is kept. `detach_grace_ms`: how long it goes on unfollowed; 0: not at all, -1: to its end.

    `await_input`: whether it waits for `answer` when it needs its user, rather than end with a reply that asks.
    `keep_ms`: how long it is kept after its end; 0: as the pooler is configured. `note`: given to whoever follows it.
    `request_key`: the request's name within its conversation.
    """

    detach_grace_ms: int = 0
    await_input: bool = False
    keep_ms: int = 0
    note: bytes = b""
    request_key: str = ""


WHILE_FOLLOWED = Terms()
"""A run that is cancelled as soon as nobody follows it."""


class Runs:
    """`admitted`: counts a run in among all calls under way, and refuses one too many."""

    def __init__(self, way: Way, admitted: Callable[[], AbstractContextManager[None]], result_bytes_max: int) -> None:
        self._way = way
        self._admitted = admitted
        self._result_bytes_max = result_bytes_max
        self._abandoning: set[asyncio.Task[RunState]] = set()

    async def close(self) -> None:
        """Ends what still tells the pooler of runs that were abandoned."""
        for task in self._abandoning:
            task.cancel()
        await asyncio.gather(*self._abandoning, return_exceptions=True)

    async def run(self, call: Call, terms: Terms = WHILE_FOLLOWED) -> AsyncGenerator[RunEvent, None]:
        """Runs an operation: its events, from Accepted to Done. Raises PoolerError when there is no outcome to tell."""
        with self._admitted():
            deadline = asyncio.get_running_loop().time() + call.timeout_seconds
            stream, first = await repeated(call, deadline, lambda _: self._begin(call, terms, deadline))
            # Its user may take his time; the pooler bounds that.
            silent = None if terms.await_input else deadline + SILENCE_SECONDS
            followed = _Followed(self._way, call.caller, "", 0, silent, stream)
            try:
                event: RunEvent | None = followed.take(first)
                while event is not None:
                    yield self._bounded(_honest(call, event) if followed.broke else event)
                    event = await followed.next()
            except Interrupted as interrupted:
                raise interrupted.as_error(call) from None
            except PoolerError as error:
                raise _lost(call, error) if error.reason in HANDLE_REASONS else error from None
            finally:
                followed.close()

    async def attach(self, caller: Caller, run: str, after: int = 0) -> AsyncGenerator[RunEvent, None]:
        """Follows a run from after an event to Done. Raises PoolerError: HANDLE_LOST when its pooler has gone."""
        with self._admitted():
            followed = _Followed(self._way, caller, run, after, None, None)
            try:
                while (event := await followed.next()) is not None:
                    yield self._bounded(event)
            except Interrupted:
                raise way_interrupted() from None
            finally:
                followed.close()

    async def get(self, caller: Caller, run: str) -> RunState:
        """How a run stands. Raises PoolerError, as do all that follow."""
        return state_of(
            await self._way.ask(self._way.stub.GetRun, pb.GetRunRequest(context=context_of(caller), run=run))
        )

    async def cancel(self, caller: Caller, run: str) -> RunState:
        """Stops a run's work; harmless when it is done."""
        request = pb.CancelRunRequest(context=context_of(caller), run=run)
        return state_of(await self._way.ask(self._way.stub.CancelRun, request))

    def abandon(self, caller: Caller, run: str) -> None:
        """Cancels a run whose caller has left without its handle; waits for nothing, and fails silently."""
        if run:
            task = asyncio.create_task(self.cancel(caller, run))
            self._abandoning.add(task)
            task.add_done_callback(self._abandoned)

    def _abandoned(self, task: "asyncio.Task[RunState]") -> None:
        self._abandoning.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            log.warning("an abandoned run goes on", cause=str(failure))

    async def answer(self, caller: Caller, run: str, input_responses: bytes) -> RunState:
        """Gives a run what it asked its user for: MCP's `inputResponses`, for all of its requests or some."""
        request = pb.AnswerRunRequest(context=context_of(caller), run=run, input_responses=input_responses)
        return state_of(await self._way.ask(self._way.stub.AnswerRun, request))

    async def _begin(
        self, call: Call, terms: Terms, deadline: float
    ) -> "tuple[UnaryStreamCall[pb.RunRequest, pb.RunEvent], pb.RunEvent]":
        """Starts the run once. Raises Interrupted when nobody knows whether it has started."""
        await self._way.reach(deadline)
        left = deadline - asyncio.get_running_loop().time()
        stream = self._way.stub.Run(_run_request(call, terms, left))
        try:
            async with asyncio.timeout_at(deadline + SILENCE_SECONDS):
                first = await next_of(stream)
        except TimeoutError:
            stream.cancel()
            raise Interrupted("the pooler did not answer in time", sent=True) from None
        except BaseException:
            stream.cancel()
            raise
        if first is None or not first.HasField("accepted"):
            stream.cancel()
            raise PoolerError("INTERNAL", "The pooler did not say how the run can be followed.")
        return stream, first

    def _bounded(self, event: RunEvent) -> RunEvent:
        if isinstance(event.what, Page) and (size := len(event.what.reply.body)) > self._result_bytes_max:
            raise result_too_large(size, self._result_bytes_max)
        return event


class _Followed:
    """A run as far as it has been followed."""

    def __init__(
        self,
        way: Way,
        caller: Caller,
        run: str,
        after: int,
        deadline: float | None,
        stream: "UnaryStreamCall[pb.RunRequest, pb.RunEvent] | None",
    ) -> None:
        self._way = way
        self._caller = caller
        self._run = run
        self._seq = after
        self._done = False
        self._trail = Trail(way, self._attach, deadline, stream)

    @property
    def broke(self) -> bool:
        return self._trail.broke

    def close(self) -> None:
        self._trail.close()

    def take(self, message: pb.RunEvent) -> RunEvent | None:
        event = event_of(message)
        self._seq = max(self._seq, message.seq)
        if event is not None and isinstance(event.what, Accepted):
            self._run = event.what.run
        self._done = event is not None and isinstance(event.what, Done)
        return event

    async def next(self) -> RunEvent | None:
        """The next event; None after Done."""
        while not self._done:
            message = await self._trail.next()
            if message is None:
                await self._trail.mend("the events ended before the run did")
            elif message.seq > self._seq and (event := self.take(message)) is not None:
                return event
        return None

    def _attach(self) -> "UnaryStreamCall[pb.AttachRequest, pb.RunEvent]":
        request = pb.AttachRequest(context=context_of(self._caller), run=self._run, after=self._seq)
        return self._way.stub.Attach(request)


def _honest(call: Call, event: RunEvent) -> RunEvent:
    """After a break a run that was cancelled was cancelled by the break: its caller, who waits, never asked for it."""
    done = event.what
    if not isinstance(done, Done) or done.error is None or done.error.reason != "CANCELLED":
        return event
    return replace(event, what=replace(done, error=Interrupted("cancelled by the break", sent=True).as_error(call)))


def _lost(call: Call, error: PoolerError) -> PoolerError:
    """What to say of a call whose run cannot be found again after a break."""
    what = f"The pooler that ran {call.operation.name!r} has gone"
    if call.repeatable:
        return PoolerError(error.reason, f"{what}; the call may safely be repeated.", error.metadata)
    unknown = "it may or may not have been carried out. Look before repeating it"
    return PoolerError("OUTCOME_UNKNOWN", f"{what}: {unknown}.")


def _run_request(call: Call, terms: Terms, left_seconds: float) -> pb.RunRequest:
    return pb.RunRequest(
        call=request_of(call, left_seconds),
        detach_grace_ms=terms.detach_grace_ms,
        await_input=terms.await_input,
        keep_ms=terms.keep_ms,
        note=terms.note,
        request_key=terms.request_key,
    )
