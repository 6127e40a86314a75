"""What all exchanges of a pooler share: where their calls go, what they say of the pooler, who hears of its end.

It knows every exchange that is open, by whatever line it came, and none of their calls.
"""

from collections.abc import Callable, Collection
from pathlib import Path

from pooler.runtime.dispatch import Dispatcher
from pooler.runtime.turns import Outcome
from pooler.service import convert
from pooler.service.exchange import VERSION, Exchange, Limits
from pooler.service.line import Line
from pooler.service.neighbours import Neighbours
from pooler.service.writes import REMEMBERED_SECONDS, UnderWay, Writes
from protos.penstock.v1 import pooler_pb2 as pb


class Exchanges:
    """All exchanges of one process. `boot_id`: its random name."""

    def __init__(self, dispatcher: Dispatcher, limits: Limits, boot_id: str) -> None:
        self.writes = Writes(dispatcher)
        self._limits = limits
        self._boot_id = boot_id
        self._open: set[Exchange] = set()
        self._address = ""
        self._neighbours: Neighbours | None = None

    async def serve_neighbours(self, address: str, folder: Path, vanished_seconds: float) -> None:
        """Lets frontends on this machine come nearer. `address`: where the pooler serves gRPC to everybody."""
        self._address = address
        bytes_max = self._limits.request_bytes_max
        self._neighbours = Neighbours(folder / "exchange.sock", self.open, bytes_max, vanished_seconds)
        await self._neighbours.open()

    async def close(self, grace_seconds: float) -> None:
        """Sends neighbours away; those whose last answers have not left yet get so long."""
        if self._neighbours is not None:
            await self._neighbours.close(grace_seconds)

    @property
    def local_address(self) -> str:
        """Where neighbours have their exchange at less cost; empty: nowhere."""
        return self._neighbours.address if self._neighbours is not None else ""

    def open(self, line: Line) -> Exchange:
        """A new exchange on this line, until it says `forget`."""
        exchange = Exchange(line, self)
        self._open.add(exchange)
        return exchange

    def forget(self, exchange: Exchange) -> None:
        """It has ended."""
        self._open.discard(exchange)

    def go_away(self) -> None:
        """Every exchange is told to open no further call here."""
        for exchange in self._open:
            exchange.go_away()

    def invalidate(self, tags: Collection[str], everything: bool = False) -> None:
        """Whoever was granted answers with any of these tags may give them to nobody any more."""
        for exchange in self._open:
            exchange.invalidate(tags, everything)

    def hello(self, line: Line, reached_as: str) -> pb.ServerHello:
        """`reached_as`: by what address the client came, as far as it says."""
        near = line.from_this_machine and self._is_reached_directly(reached_as)
        return pb.ServerHello(
            version=VERSION,
            boot_id=self._boot_id,
            calls_max=self._limits.calls_max,
            request_bytes_max=self._limits.request_bytes_max,
            local_address=self.local_address if near else "",
            remembers_ms=round(REMEMBERED_SECONDS * 1000),
        )

    def _is_reached_directly(self, reached_as: str) -> bool:
        """Whoever came by another port came through something that was put there on purpose, and stays with it."""
        return reached_as.startswith("unix:") or reached_as.rpartition(":")[2] == self._address.rpartition(":")[2]

    def send(
        self, message: pb.CallRequest, deliver: Callable[[Outcome], None], rpc_seconds: float | None = None
    ) -> UnderWay:
        """Passes a call on. Raises Fault when there is nothing to wait for."""
        sent_ago_seconds = message.context.repeated_after_ms / 1000
        return self.writes.send(convert.request(message, rpc_seconds), sent_ago_seconds, deliver)
