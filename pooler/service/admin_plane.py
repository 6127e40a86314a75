"""The DBA's plane of one pooler as one part: who may come, what is recorded, where it listens.

Beside the data plane, at its address, unless it is given one of its own; then it is nowhere else. A unix socket that
asks for no token is its owner's alone. It joins rooms, and decides nothing of what an order does.
"""

import os
import pwd
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

import grpc
import structlog

from pooler.config.changes import Changes
from pooler.config.model import AdminSettings
from pooler.runtime.record import Actor, Change, Record
from pooler.runtime.reuse.room import Answers
from pooler.service import server as grpc_server
from pooler.service.admin import AdminServicer
from pooler.service.gate import Gate
from pooler.service.health import Health
from pooler.service.snapshots import Snapshots

log = structlog.get_logger(__name__)

SIGNAL = Actor("SIGHUP", "signal")
"""Who orders by a signal: nobody can say."""


class AdminPlane:
    """`bind` it before the servers start, `start` and `stop` it with them."""

    def __init__(
        self,
        settings: AdminSettings,
        snapshots: Snapshots,
        answers: Answers,
        record: Record,
        reload: Callable[[Actor], Awaitable[Changes]],
    ) -> None:
        self.address = ""
        """Where it is, once bound."""
        self.snapshots = snapshots
        self.record = record
        self._settings = settings
        self._gate = Gate()
        self._gate.install(settings.tokens)
        self._server: grpc.aio.Server | None = None
        self.servicer = AdminServicer(snapshots, answers, self._gate, record, reload)

    @property
    def apart(self) -> bool:
        """Whether it has an address of its own."""
        return self._settings.listen is not None

    @property
    def by_socket(self) -> bool:
        """Whether nothing but the mode of a socket says who may come, if it is bound to one."""
        return not self._settings.tokens

    def bind(self, health: Health, data_address: str) -> None:
        """Takes its own address, or notes that of the data plane, which is bound by now. Raises AddressError."""
        self.address = data_address
        if self._settings.listen is not None:
            self._server = grpc_server.admin_server(self.servicer, health)
            self.address = grpc_server.bind(self._server, self._settings.listen, private=True)
        if self.address.startswith("unix:"):
            self._gate.owner = _owner(self.address.removeprefix("unix:"))
        elif self.by_socket and not _is_loopback(self.address):
            log.warning("whoever reaches this address may give orders; set pooler.admin.tokens", address=self.address)

    def reconfigure(self, settings: AdminSettings) -> None:
        """Other administrators, from now on. The address stays until a restart."""
        self._gate.install(settings.tokens)

    def reloaded(self, actor: Actor, changes: Changes) -> None:
        """Puts a reload on record."""
        facts = {
            "backends_added": ", ".join(changes.backends_added),
            "backends_removed": ", ".join(changes.backends_removed),
            "backends_changed": ", ".join(changes.backends_changed),
            "caps": ", ".join(f"{name} {was} → {now}" for name, (was, now) in changes.caps.items()),
        }
        told = {name: text for name, text in facts.items() if text}
        before, after = f"{changes.operations_before} operations", f"{changes.operations} operations"
        self.record.note(actor, Change("reload", "", before, after, told))

    async def start(self) -> None:
        if self._server is not None:
            await self._server.start()

    async def stop(self, seconds: float) -> None:
        """Whoever watches is let go after so long."""
        if self._server is not None:
            await self._server.stop(seconds)


def _owner(path: str) -> str:
    """Whose a socket is. Its mode lets nobody else in, but for root."""
    number = os.stat(path).st_uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
