"""One who follows a run, as a program, so that it can be killed: a line of JSON for each event, as soon as it is heard.

`python -m tests.real.followers ADDRESS run OPERATION ARGUMENTS GRACE_MS` begins a run;
`python -m tests.real.followers ADDRESS attach RUN AFTER` goes on with one.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from protos.penstock.v1 import pooler_pb2 as pb
from protos.penstock.v1 import pooler_pb2_grpc

PATIENCE_MS = 60_000


class Following:
    """Such a program under way."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.heard: list[dict[str, Any]] = []

    def hear(self, kind: str = "") -> dict[str, Any]:
        """The next event, or the next one of a kind."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.heard.append(json.loads(line))
            if kind in ("", self.heard[-1]["kind"]):
                return self.heard[-1]
        raise AssertionError(f"it ended before {kind!r}, after {self.heard}")

    def kill(self) -> None:
        """As the machine would. What it has written until then is still heard."""
        self.process.kill()
        assert self.process.stdout is not None
        self.heard += [json.loads(line) for line in self.process.stdout if line.endswith("\n")]
        self.process.wait()


@contextmanager
def following(*words: str) -> Iterator[Following]:
    """A follower in a process of its own, killed at the end."""
    command = [sys.executable, "-m", "tests.real.followers", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Following(process)
        finally:
            process.kill()


def events(address: str, how: str, *words: str) -> Iterator[pb.RunEvent]:
    """The events of a run that is begun, or gone on with."""
    context = pb.CallContext(timeout_ms=PATIENCE_MS)
    with grpc.insecure_channel(address) as channel:
        stub = pooler_pb2_grpc.PoolerServiceStub(channel)
        if how == "run":
            operation, arguments, grace = words
            call = pb.CallRequest(context=context, operation=operation, arguments=arguments.encode())
            yield from stub.Run(pb.RunRequest(call=call, detach_grace_ms=int(grace)))
        else:
            yield from stub.Attach(pb.AttachRequest(context=context, run=words[0], after=int(words[1])))


def told(event: pb.RunEvent) -> dict[str, Any]:
    """What is written of an event."""
    reason = pb.Reason.Name(event.done.error.reason) if event.done.HasField("error") else ""
    return {
        "seq": event.seq,
        "kind": event.WhichOneof("event"),
        "run": event.accepted.run,
        "progress": event.progress.progress,
        "result": event.page.reply.result.decode(),
        "reason": reason.removeprefix("REASON_"),
    }


if __name__ == "__main__":
    for happened in events(*sys.argv[1:]):
        print(json.dumps(told(happened)), flush=True)
