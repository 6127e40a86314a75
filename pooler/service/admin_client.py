"""A blocking client of a pooler's AdminService, for the command line: plain values in, plain values out.

What comes back are the wire's messages as dictionaries, by the names of their fields; absent ones have their defaults,
enumerations are their names in small letters, without their prefix. It retries nothing and keeps nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.message import Message

from pooler.service.client import ANSWER_BYTES_MAX, failure
from protos.penstock.v1 import admin_pb2 as pb
from protos.penstock.v1 import admin_pb2_grpc

Plain = dict[str, Any]


class AdminClient:
    """One channel to one pooler. A context manager; every method raises CallError."""

    def __init__(self, address: str, token: str = "") -> None:
        """`address`: HOST:PORT or unix:PATH; `token`: the administrator's, or none. Connects with the first call."""
        self._address = address
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._channel = grpc.insecure_channel(
            address, options=[("grpc.max_receive_message_length", ANSWER_BYTES_MAX), ("grpc.enable_http_proxy", 0)]
        )
        self._stub = admin_pb2_grpc.AdminServiceStub(self._channel)
        self._watching: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends what is under way, a watch in another thread too."""
        if self._watching is not None:
            self._watching.cancel()
        self._channel.close()

    def snapshot(self, parts: Sequence[str], backends: Sequence[str], limit: int, timeout_seconds: float) -> Plain:
        """A pooler now. `parts`: connections, queue, sessions, runs, changes; none of them: the backends alone."""
        request = pb.GetSnapshotRequest(parts=_parts(parts), backends=backends, limit=limit)
        return self._ask("GetSnapshot", request, timeout_seconds)

    def watch(self, parts: Sequence[str], backends: Sequence[str], limit: int, interval_ms: int) -> Iterator[Plain]:
        """The same again and again, as it changes, until it is closed."""
        request = pb.WatchSnapshotsRequest(parts=_parts(parts), backends=backends, limit=limit, interval_ms=interval_ms)
        try:
            self._watching = self._stub.WatchSnapshots(request, metadata=self._metadata)
            for snapshot in self._watching:
                yield plain(snapshot)
        except grpc.RpcError as error:
            raise failure(error, self._address) from error

    def order(self, name: str, timeout_seconds: float, **fields: Any) -> Plain:
        """One order by its name on the wire, as in `order("SetCap", 5, backend="orders", cap=2)`; its reply."""
        return self._ask(name, getattr(pb, f"{name}Request")(**fields), timeout_seconds)

    def _ask(self, name: str, request: Message, timeout_seconds: float) -> Plain:
        try:
            reply = getattr(self._stub, name)(request, timeout=timeout_seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            raise failure(error, self._address) from error
        return plain(reply)


def plain(message: Message) -> Plain:
    """A message as a dictionary of plain values, every field of it."""
    return {field.name: _value(field, getattr(message, field.name)) for field in message.DESCRIPTOR.fields}


def _value(field: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if field.is_repeated:
        return [_one(field, each) for each in value]
    return _one(field, value)


def _one(field: Any, value: Any) -> Any:
    if isinstance(value, Message):
        return plain(value)
    if field.enum_type is None:
        return value
    members = field.enum_type.values_by_number
    prefix = members[0].name.removesuffix("UNSPECIFIED")
    return members[value].name.removeprefix(prefix).lower() if value in members else str(value)


def _parts(names: Sequence[str]) -> list[pb.SnapshotPart.ValueType]:
    """None of the parts is a part that does not exist: an empty list would mean all of them."""
    return [pb.SnapshotPart.Value(f"SNAPSHOT_PART_{name.upper()}") for name in names] or [pb.SNAPSHOT_PART_UNSPECIFIED]
