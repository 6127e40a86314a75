"""A pooler whose words a test writes: a real gRPC server, that says what it was told to say and keeps what it heard.

For what a real pooler does too rarely, or in no order that a test could wait for: streams that end in the midst of a
run, handles that are lost, events of every kind.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from protos.penstock.v1 import pooler_pb2 as pb
from protos.penstock.v1 import pooler_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class Refusal(Exception):
    """A status as a pooler gives it, with its reason."""

    def __init__(self, reason: str, code: int, message: str) -> None:
        super().__init__(message)
        detail = AnyMessage()
        detail.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="penstock"))
        self.status = rpc_status.to_status(status_pb2.Status(code=code, message=message, details=[detail]))


class Break(Exception):
    """The way breaks here: the status is gRPC's own."""


BREAK = Break()

Step: TypeAlias = Any
"""A message to say, an exception to end with, or an event of asyncio to wait for."""


class ScriptedPooler(pooler_pb2_grpc.PoolerServiceServicer):
    """Each call of a method takes the next of its scripts; `heard` has every request, in order."""

    def __init__(self) -> None:
        self.scripts: dict[str, deque[list[Step]]] = {}
        self.heard: list[Any] = []
        self.left = asyncio.Event()
        """Set when somebody has left a stream before its end."""

    def say(self, method: str, *steps: Step) -> None:
        """The next script of a method."""
        self.scripts.setdefault(method, deque()).append(list(steps))

    def heard_of(self, kind: type) -> list[Any]:
        return [request for request in self.heard if isinstance(request, kind)]

    async def play(self, method: str, request: Any, context: Context) -> AsyncIterator[Any]:
        self.heard.append(request)
        try:
            for step in self.scripts[method].popleft():
                match step:
                    case Refusal():
                        await context.abort_with_status(step.status)
                    case Break():
                        await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
                    case asyncio.Event():
                        await step.wait()
                    case _:
                        yield step
        except asyncio.CancelledError:
            self.left.set()
            raise


def _streams(method: str) -> Any:
    async def answer(self: ScriptedPooler, request: Any, context: Context) -> AsyncIterator[Any]:
        async for message in self.play(method, request, context):
            yield message

    return answer


def _answers(method: str) -> Any:
    async def answer(self: ScriptedPooler, request: Any, context: Context) -> Any:
        return await anext(self.play(method, request, context))

    return answer


for _method in ("Run", "Attach", "FollowConversation", "Watch", "WatchCatalogue"):
    setattr(ScriptedPooler, _method, _streams(_method))
for _method in (
    "GetRun",
    "CancelRun",
    "AnswerRun",
    "OpenConversation",
    "GetConversation",
    "CloseConversation",
    "Deliver",
):
    setattr(ScriptedPooler, _method, _answers(_method))


@asynccontextmanager
async def scripted(*operations: pb.Operation) -> AsyncIterator[tuple[ScriptedPooler, str]]:
    """A pooler that offers these operations, and where it listens."""
    pooler = ScriptedPooler()  # type: ignore[abstract] # the rest of its methods are set above, or not implemented
    pooler.say("WatchCatalogue", pb.Catalogue(revision="1", operations=operations), asyncio.Event())
    server = grpc.aio.server()
    pooler_pb2_grpc.add_PoolerServiceServicer_to_server(pooler, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield pooler, address
    finally:
        await server.stop(0)


# What it may say


def accepted(seq: int = 1, run: str = "run-1") -> pb.RunEvent:
    return pb.RunEvent(seq=seq, accepted=pb.RunAccepted(run=run, name="r1", note=b"note"))


def queued(seq: int, place: int, of: int) -> pb.RunEvent:
    return pb.RunEvent(seq=seq, queued=pb.RunQueued(place=place, of=of))


def progress(seq: int, done: float, total: float | None = None, message: str = "") -> pb.RunEvent:
    return pb.RunEvent(seq=seq, progress=pb.RunProgress(progress=done, total=total, message=message))


def page(seq: int, body: bytes = b'{"result":1}', kind: pb.ResultKind.ValueType = pb.RESULT_KIND_VALUE) -> pb.RunEvent:
    return pb.RunEvent(seq=seq, page=pb.RunPage(reply=pb.CallReply(kind=kind, result=body)))


def done(seq: int, reason: str = "", code: int = 0, message: str = "") -> pb.RunEvent:
    error = pb.ExchangeError(code=code, reason=pb.Reason.Value(f"REASON_{reason}"), message=message) if reason else None
    return pb.RunEvent(seq=seq, done=pb.RunDone(error=error))
