"""Connections that carry several calls at once: how many they carry, and who waits for whom on them."""

from dataclasses import dataclass

import pytest

from pooler.backends.base import Answer, News, Tag
from pooler.backends.simulated.adapter import SimulatedAdapter
from pooler.backends.simulated.connection import SimulatedConnection
from pooler.backends.simulated.ledger import Batch
from pooler.backends.simulated.local import LocalConnection, open_connection
from pooler.backends.simulated.methods import Request, perform
from tests.simulation import virtual
from tests.simulation.load import about, go_on
from tests.simulation.rig import Rig

STREAMS = 3


@dataclass(slots=True, eq=False)
class SharedConnection(LocalConnection):
    """A session that works on several requests at once, and still counts each of them."""

    streams: int = STREAMS

    async def request(self, request: Request, news: News | None) -> Answer | Batch:
        self.system.require_sound(self.session)
        self.session.requests += 1
        await self.system.step("execute", request.seconds)
        return perform(request, self.system.ledger, self.session)


class Shares(SimulatedAdapter):
    """Opens such connections, and keeps them to be looked at."""

    def __init__(self, system):
        super().__init__(system)
        self.opened: list[SharedConnection] = []

    async def open(self, tag: Tag) -> SimulatedConnection:
        plain = await open_connection(tag, self.system)
        self.opened.append(SharedConnection(tag, session=plain.session, system=self.system))
        return self.opened[-1]


@pytest.mark.promise(17)
@pytest.mark.parametrize("uses", [1, 2, 7])
def test_nobody_is_refused_by_a_client_that_leaks_when_it_is_given_no_more_calls_than_it_bears(uses):
    async def scene() -> None:
        rig = Rig({"cap": 2, "max_uses": uses}, poison_after=uses, start_seconds=0.1)
        adapter = rig.stand_in(Shares)
        calls = await go_on(rig, 8, 60, about(0.2))
        assert all(call.answered for call in calls)
        ended = [connection.session.requests for connection in adapter.opened if connection.session.left]
        assert set(ended) == {uses}  # each has served as many as it may: none was thrown away before
        assert rig.system.peak <= 2

    virtual.run(scene())
