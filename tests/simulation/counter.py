"""A rig with sessions: callers who begin one, call in it and end it, at the desk that the pooler itself has."""

from typing import Any

import orjson
import pytest

from pooler.backends.base import Answer, Caller
from pooler.core.sessions import Limits
from pooler.errors import Fault
from pooler.runtime.desks import Desk, Desks, Settings
from pooler.runtime.handles import Sealer
from pooler.runtime.turns import Turn
from tests.simulation.rig import Call, Rig, finished, until

KEY = b"k" * 32
SHORT = Limits(sessions_max=2, idle_seconds=5.0, lifetime_seconds=20.0)


class Counter(Rig):
    """A pool, its simulated backend `legacy`, and its desk."""

    def __init__(
        self,
        rules: dict[str, Any] | None = None,
        limits: Limits | None = None,
        transactional: bool = True,
        pin_idle_seconds: float | None = None,
        **more: Any,
    ) -> None:
        super().__init__(rules, **more)
        self.desks = Desks(Sealer("sim", [KEY], lambda: self.now), lambda: self.now)
        settings = {"legacy": Settings(limits or Limits(sessions_max=2), transactional, pin_idle_seconds)}
        self.desk: Desk = self.desks.install({"legacy": self.driver}, settings)["legacy"]

    def ask(
        self,
        operation: str,
        session: str = "",
        *,
        principal: str = "ann",
        timeout: float = 10.0,
        patience: float = 60.0,
        conversation: str = "",
        **arguments: Any,
    ) -> Call:
        """A call by its operation's name, in a session where one is named. Refusals of its handle are raised."""
        now, number = self.now, len(self.calls)
        given: dict[str, Any] = {"value": number, **arguments}
        turn = Turn(
            asked_at=now,
            give_up_at=now + patience,
            deadline=now + patience + timeout,
            operation=operation,
            read=operation not in ("put", "write"),
            arguments=given,
            caller=Caller("default", principal, str(number), conversation=conversation),
            timeout_seconds=timeout,
        )
        carrier = self.desk.carrier(operation, session, turn.caller) or self.driver
        call = Call(number, turn, self._loop)
        turn.deliver = call.deliver
        call.leave = lambda: carrier.cancel(turn)
        self.calls.append(call)
        carrier.submit(turn)
        return call

    async def begin(self, **more: Any) -> str:
        """Begins a session. Returns its handle."""
        return str((await self.do(self.desk.tools.begin, **more))["session"])

    async def do(self, operation: str, session: str = "", **more: Any) -> Any:
        """The result of a call, decoded. Raises its Fault."""
        (outcome,) = await finished([self.ask(operation, session, **more)])
        if isinstance(outcome.result, Fault):
            raise outcome.result
        assert isinstance(outcome.result, Answer)
        return orjson.loads(outcome.result.body)

    def handle(self, answer: Answer) -> str:
        """The handle in what the call was answered that began a session."""
        return str(orjson.loads(answer.body)["session"])

    def leave(self, call: Call) -> None:
        """A caller leaves."""
        if call.cancelled_at is None and not call.outcomes:
            call.cancelled_at = self.now
        call.leave()


async def refused(rig: Counter, operation: str, session: str, **more: Any) -> Fault:
    """How a call fails."""
    with pytest.raises(Fault) as caught:
        await rig.do(operation, session, **more)
    return caught.value


async def kept(rig: Counter, value: int) -> int:
    """How often a value has been kept for good, by a call outside of every session."""
    return int((await rig.do("count", value=value))["result"])


async def gives_everything_back(rig: Counter) -> None:
    """Nobody has a connection any more, and the whole cap can be taken at once."""
    cap = rig.driver.pool.rules.cap
    calls = [rig.submit(30.0) for _ in range(cap)]
    await until(lambda: rig.busy() == cap)
    await finished(calls)
    assert (len(rig.desk), len(rig.desks)) == (0, 0)
    assert rig.violations == []
