"""An open loop: calls come when they come, whatever became of those before, as real callers do. It only measures."""

import asyncio
import random
import time
from dataclasses import dataclass
from functools import partial

from protos.penstock.v1 import pooler_pb2 as pb
from tests.bench.wire import Line


@dataclass(slots=True)
class Answered:
    """One call: when it was sent, how long its answer took, and what it was (0: a result). Times in seconds."""

    sent_at: float
    seconds: float
    reason: "pb.Reason.ValueType"


class Load:
    """Callers of one tenant at a rate, for a while, at random moments drawn from a seed (a Poisson process)."""

    def __init__(self, line: Line, operation: str, rate: float, timeout_ms: int, tenant: str = "", seed: int = 1):
        context = pb.CallContext(tenant=tenant, timeout_ms=timeout_ms)
        self.answers: list[Answered] = []
        self._line = line
        self._request = pb.CallRequest(context=context, operation=operation)
        self._rate = rate
        self._chance = random.Random(seed)

    async def run(self, seconds: float) -> None:
        """Offers calls for so long. The last answers come later."""
        at, end = time.perf_counter(), time.perf_counter() + seconds
        while at < end:
            at += self._chance.expovariate(self._rate)
            if (ahead := at - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            self._line.ask(self._request, partial(self._answered, time.perf_counter()))

    def good_per_second(self, since: float, until: float) -> float:
        """Results that came in between, per second."""
        return len([a for a in self.good() if since <= a.sent_at + a.seconds < until]) / (until - since)

    def good(self) -> list[Answered]:
        """The calls that got a result."""
        return [answer for answer in self.answers if not answer.reason]

    def percentile(self, share: float) -> float:
        """The time that this share of the calls stays within; a call without a result took for ever."""
        seconds = sorted(answer.seconds if not answer.reason else float("inf") for answer in self.answers)
        return seconds[min(len(seconds) - 1, int(share * len(seconds)))]

    def _answered(self, sent_at: float, head: pb.ExchangeHead) -> None:
        self.answers.append(Answered(sent_at, time.perf_counter() - sent_at, head.error.reason))
