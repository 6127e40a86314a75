"""What is called, and what is watched meanwhile: from an address to ways, a catalogue and words for people."""

from collections.abc import Sequence

from pooler.loadtest.grpc_way import GrpcWay
from pooler.loadtest.mcp_way import McpWay
from pooler.loadtest.plan import Plan, without_credentials
from pooler.service.load import LoadWay
from pooler.service.load_watch import Offered, Watch

POOLER_ADDRESS = "127.0.0.1:7433"


class Target:
    """Opened by `open`, ended by `close`. `watch`: the pooler to be watched; None where none was named."""

    def __init__(self, plan: Plan) -> None:
        where = plan.target
        pooler = where.pooler or (None if where.mcp else POOLER_ADDRESS)
        self.watch = Watch(pooler) if pooler else None
        self._mcp = McpWay(where, {name: spec.token for name, spec in plan.tenants.items()}) if where.mcp else None
        self.address: str
        self.wire: str
        self.way: LoadWay
        if self._mcp is not None:
            self.way, self.address = self._mcp, str(without_credentials(where.mcp))
            kept = f", {where.conversations} conversations" if where.era != "2026-07-28" and where.conversations else ""
            self.wire = f"MCP {where.era} over HTTP{kept}"
        else:
            assert pooler is not None, "either an MCP address or a pooler"
            self.way, self.address = GrpcWay(pooler, where), pooler
            many = f", {where.streams} streams" if where.streams > 1 else ""
            self.wire = f"gRPC, {where.wire}{many}"

    async def open(self) -> None:
        """Connects. Raises LoadError."""
        if self.watch is not None:
            await self.watch.open()
        await self.way.open()

    async def close(self) -> None:
        """Ends all of it."""
        await self.way.close()
        if self.watch is not None:
            await self.watch.close()

    async def catalogue(self) -> Sequence[Offered]:
        """What may be called. Raises LoadError."""
        if self._mcp is not None:
            return await self._mcp.catalogue()
        assert self.watch is not None, "a pooler is watched that is called"
        return await self.watch.catalogue()
