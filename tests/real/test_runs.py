"""Runs and the programs around them: followers that are killed, poolers that are killed, work that must stop."""

import json
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from protos.penstock.v1 import pooler_pb2 as pb
from protos.penstock.v1 import pooler_pb2_grpc
from tests.programs import Pooler
from tests.real.followers import PATIENCE_MS, events, following, told
from tests.servers.counting import CountingServer
from tests.servers.postgres import PostgresServer

CONTEXT = pb.CallContext(timeout_ms=PATIENCE_MS)


def config(address: str, store: str = "memory") -> dict[str, Any]:
    return {
        "pooler": {"store": store},
        "backends": {"legacy": {"kind": "simulated", "address": address, "pool": {"cap": 2}}},
        "operations": {
            "report": {
                "backend": "legacy",
                "method": "report",
                "arguments": {"seconds": {"type": "number"}, "steps": {"type": "integer"}},
                "effect": "read",
                "timeout_seconds": 120,
            }
        },
    }


def report(seconds: float, steps: int) -> str:
    return json.dumps({"seconds": seconds, "steps": steps})


def state_of(address: str, run: str) -> pb.RunState:
    with grpc.insecure_channel(address) as channel:
        reply: pb.RunState = pooler_pb2_grpc.PoolerServiceStub(channel).GetRun(
            pb.GetRunRequest(context=CONTEXT, run=run)
        )
    return reply


def test_a_follower_that_is_killed_is_followed_by_another_and_each_event_is_heard_once(
    counting_server: CountingServer, tmp_path: Path
) -> None:
    with Pooler(tmp_path, config(counting_server.address)) as pooler:
        with following(pooler.address, "run", "report", report(6, 30), "20000") as first:
            first.hear("progress")
            first.hear("progress")
            first.kill()
        heard = first.heard
        run = heard[0]["run"]
        with following(pooler.address, "attach", run, str(heard[-1]["seq"])) as second:
            second.hear("progress")
            second.kill()
        heard += second.heard
        heard += [told(event) for event in events(pooler.address, "attach", run, str(heard[-1]["seq"]))]
        whole = [told(event) for event in events(pooler.address, "attach", run, "0")]
    assert [event["seq"] for event in heard] == list(range(1, len(heard) + 1))
    assert heard == whole
    assert [event["kind"] for event in heard[-2:]] == ["page", "done"]
    progress = [event["progress"] for event in heard if event["kind"] == "progress"]
    assert progress == sorted(set(progress))
    assert progress[-1] == 30


@pytest.mark.promise(6)
def test_a_follower_that_is_killed_takes_a_run_without_grace_along(
    counting_server: CountingServer, tmp_path: Path
) -> None:
    with Pooler(tmp_path, config(counting_server.address)) as pooler:
        with following(pooler.address, "run", "report", report(60, 60), "0") as follower:
            follower.hear("progress")
            counting_server.wait(busy=1)
            follower.kill()
        counting_server.wait(busy=0)
        with pytest.raises(grpc.RpcError, match="is over"):
            state_of(pooler.address, follower.heard[0]["run"])


def test_what_a_killed_pooler_had_stored_is_read_from_the_next_one(
    counting_server: CountingServer, tmp_path: Path
) -> None:
    before = Pooler(tmp_path, config(counting_server.address, "sqlite"))
    done = [told(event) for event in events(before.address, "run", "report", report(1, 5), "20000")]
    with following(before.address, "run", "report", report(60, 120), "20000") as follower:
        for _ in range(3):
            follower.hear("progress")
        before.kill()
        follower.kill()
    with Pooler(tmp_path, config(counting_server.address, "sqlite")) as after:
        ended, lost = done[0]["run"], follower.heard[0]["run"]
        assert [told(event) for event in events(after.address, "attach", ended, "0")] == done
        assert state_of(after.address, ended).status == pb.RUN_STATUS_COMPLETED
        rest = [told(event) for event in events(after.address, "attach", lost, str(follower.heard[-1]["seq"]))]
        assert [event["seq"] for event in follower.heard + rest] == list(range(1, rest[-1]["seq"] + 1))
        assert (rest[-1]["kind"], rest[-1]["reason"]) == ("done", "HANDLE_LOST")
        state = state_of(after.address, lost)
        assert (state.status, state.error.reason) == (pb.RUN_STATUS_FAILED, pb.REASON_HANDLE_LOST)
        assert "lost with its pooler" in state.error.message


def test_without_a_file_a_killed_pooler_takes_its_runs_along_and_says_so(
    counting_server: CountingServer, tmp_path: Path
) -> None:
    before = Pooler(tmp_path, config(counting_server.address))
    with following(before.address, "run", "report", report(60, 120), "20000") as follower:
        run = follower.hear()["run"]
        before.kill()
    with Pooler(tmp_path, config(counting_server.address)) as after, pytest.raises(grpc.RpcError) as caught:
        state_of(after.address, run)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.promise(6)
def test_a_cancelled_run_and_a_broken_stream_stop_the_statement_in_the_server(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    nap = {"backend": "db", "statement": "SELECT 1 FROM pg_sleep(60)", "effect": "read", "timeout_seconds": 100}
    backend = {"kind": "postgres", "url": postgres_server.url, "pool": {"cap": 2}}
    with Pooler(tmp_path, {"backends": {"db": backend}, "operations": {"nap": nap}}) as pooler:
        for grace in ("-1", "0"):
            with following(pooler.address, "run", "nap", "{}", grace) as follower:
                run = follower.hear()["run"]
                until(lambda: postgres_server.sleeping() == 1)
                if grace == "0":
                    follower.kill()
                else:
                    with grpc.insecure_channel(pooler.address) as channel:
                        cancel = pb.CancelRunRequest(context=CONTEXT, run=run)
                        pooler_pb2_grpc.PoolerServiceStub(channel).CancelRun(cancel)
                    assert follower.hear("done")["reason"] == "CANCELLED"
                until(lambda: postgres_server.sleeping() == 0)


def until(true: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
