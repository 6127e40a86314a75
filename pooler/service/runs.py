"""Run, Attach, GetRun, CancelRun and AnswerRun: runs on the wire. It keeps nothing of a run.

A stream that ends, however it ends, is a follower that has left: that is said to the run at once, by the call's own
callback and not when the generator is collected, since a run may have to be cancelled for it.
"""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from pooler.errors import Fault
from pooler.runtime.runs import Runs
from pooler.runtime.runs.run import Run as KeptRun
from pooler.service import convert, convert_runs, faults
from protos.penstock.v1 import pooler_pb2 as pb
from protos.penstock.v1 import pooler_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class RunsMixin(pooler_pb2_grpc.PoolerServiceServicer):
    """The runs' part of the data plane."""

    runs: Runs

    async def Run(  # noqa: N802 - the wire's name
        self, request: pb.RunRequest, context: Context
    ) -> AsyncIterator[pb.RunEvent]:
        try:
            run = await self.runs.start(convert.request(request.call, None), **convert_runs.terms(request))
        except Fault as fault:
            await faults.abort(context, fault)
        async for event in _followed(run, 0, context):
            yield event

    async def Attach(self, request: pb.AttachRequest, context: Context) -> AsyncIterator[pb.RunEvent]:  # noqa: N802
        run = await self._run_of(request.context, request.run, context)
        async for event in _followed(run, request.after, context):
            yield event

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.RunState:  # noqa: N802
        run = await self._run_of(request.context, request.run, context)
        return convert_runs.state(run.state())

    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> pb.RunState:  # noqa: N802
        run = await self._run_of(request.context, request.run, context)
        run.cancel()
        return convert_runs.state(run.state())

    async def AnswerRun(self, request: pb.AnswerRunRequest, context: Context) -> pb.RunState:  # noqa: N802
        run = await self._run_of(request.context, request.run, context)
        try:
            run.answer(request.input_responses)
        except Fault as fault:
            await faults.abort(context, fault)
        return convert_runs.state(run.state())

    async def _run_of(self, caller: pb.CallContext, handle: str, context: Context) -> KeptRun:
        """The run of a handle, if it is this caller's; else the call ends with the reason."""
        try:
            return await self.runs.find(self.runs.id_of(handle, *convert.caller(caller)))
        except Fault as fault:
            await faults.abort(context, fault)


async def _followed(run: KeptRun, after: int, context: Context) -> AsyncIterator[pb.RunEvent]:
    follower = run.follow(after)
    context.add_done_callback(lambda _: follower.leave())  # type: ignore[arg-type]  # the stubs want a class of theirs
    try:
        async for event in follower:
            yield convert_runs.event(event)
    finally:
        follower.leave()
