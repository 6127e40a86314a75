"""The edge where a Fault becomes a gRPC status, with its ErrorInfo. Nothing else in the pooler names a status."""

from collections.abc import Mapping
from typing import Any, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from pooler.errors import Fault
from pooler.runtime.turns import Timing
from pooler.service import convert

DOMAIN = "penstock"


def status_of(fault: Fault, spent: Timing | None = None) -> status_pb2.Status:
    """A fault as gRPC says it. Where the call's time went stands in the ErrorInfo's metadata."""
    metadata: Mapping[str, str] = fault.metadata
    if spent is not None:
        metadata = {**metadata, **{name: str(value) for name, value in convert.microseconds(spent).items()}}
    detail = AnyMessage()
    detail.Pack(error_details_pb2.ErrorInfo(reason=fault.reason, domain=DOMAIN, metadata=metadata))
    return status_pb2.Status(code=convert.CODES[fault.reason], message=fault.message, details=[detail])


async def abort(context: grpc.aio.ServicerContext[Any, Any], fault: Fault, spent: Timing | None = None) -> NoReturn:
    """Ends the call with the fault's status."""
    await context.abort_with_status(rpc_status.to_status(status_of(fault, spent)))
    raise AssertionError("abort_with_status raises")
