"""A client that knows nothing but the .proto file: Node with grpc-js."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from protos.penstock.v1 import pooler_pb2 as pb
from protos.penstock.v1 import pooler_pb2_grpc
from tests import npm
from tests.programs import Pooler

ROOT = Path(__file__).parent.parent.parent
CONFIG: dict[str, Any] = {
    "backends": {"fake": {"kind": "simulated", "pool": {"cap": 1}}},
    "operations": {
        "echo": {"backend": "fake", "method": "echo", "arguments": {"value": {"type": "string"}}, "effect": "read"}
    },
}
ARGUMENTS = json.dumps({"value": "Zürich, 'quoted' — 東京 \u0000 \\"})


@pytest.fixture
def pooler(tmp_path: Path) -> Iterator[Pooler]:
    with Pooler(tmp_path, CONFIG) as program:
        yield program


def node(pooler: Pooler, timeout_ms: int) -> dict[str, Any]:
    folder = npm.packages("@grpc/grpc-js@1.14", "@grpc/proto-loader@0.8")
    script = folder / "call.cjs"
    shutil.copy(Path(__file__).parent / "node" / "call.cjs", script)
    command = ["node", str(script), str(ROOT), pooler.address, "echo", ARGUMENTS, str(timeout_ms)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.timeout(400)
def test_a_client_in_another_language_gets_the_same_bytes(pooler: Pooler) -> None:
    with grpc.insecure_channel(pooler.address) as channel:
        reply = pooler_pb2_grpc.PoolerServiceStub(channel).Call(
            pb.CallRequest(context=pb.CallContext(timeout_ms=5000), operation="echo", arguments=ARGUMENTS.encode())
        )
    answer = node(pooler, 5000)
    assert (answer["kind"], base64.b64decode(answer["result"])) == (pb.RESULT_KIND_VALUE, reply.result)
    assert answer["timing"].keys() <= {"queueUs", "startUs", "resetUs", "backendUs"}


def test_a_client_in_another_language_is_told_that_a_deadline_is_missing(pooler: Pooler) -> None:
    answer = node(pooler, 0)
    assert answer["code"] == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert "timeout_ms" in answer["details"]
