"""A call on its way from its caller to a pool or to a kept result, and back. What it does is decided in `dispatch`."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from pooler.backends.base import Answer
from pooler.core.cursors import Spooled
from pooler.errors import Fault, Reason
from pooler.runtime.desks import Carrier
from pooler.runtime.driver import Driver
from pooler.runtime.routes import Route
from pooler.runtime.turns import NO_EXTRAS, Extras, Hands, Outcome, Timing, Turn

if TYPE_CHECKING:
    from pooler.runtime.dispatch import Dispatcher

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False, kw_only=True)
class Call(Turn):
    """A turn that knows the way back. (Ten thousand may wait: a closure for each way would take 200 bytes more.)"""

    route: Route
    dispatcher: "Dispatcher"
    told: Callable[[Outcome], None]
    carrier: Carrier | None = None
    """Who carries it out instead of the pool, where a connection is kept for its caller."""

    @property
    def driver(self) -> Driver:
        """Of the pool that it goes to."""
        return self.route.driver

    def take_along(self, hands: Hands) -> Extras:
        """A window as well, when its result may have more pages than one."""
        extras = self.extras or NO_EXTRAS
        if self.route.paging is not None and extras.pages is None:
            extras = extras._replace(pages=self.dispatcher.kept.window(self.route.paging, self, hands))
            self.extras = extras
        return extras

    def leave(self) -> None:
        """The caller has left."""
        (self.carrier or self.driver).cancel(self)
        if self.grant is None and self.task is not None:
            self.task.cancel()  # it was fetching a page

    async def fetch(self, cursor: Spooled) -> None:
        """Has the answer fetched from a result that is kept, instead of asking the pool."""
        result: Answer | Fault
        try:
            result = await self.dispatcher.kept.fetch(cursor, self.deadline - self.asked_at)
        except Fault as fault:
            result = fault
        except Exception:
            log.exception("a page could not be fetched: a bug", operation=self.operation)
            result = Fault(Reason.INTERNAL, f"The next page of {self.operation} could not be fetched, by a defect.")
        deliver, self.deliver = self.deliver, None
        if deliver is not None:
            deliver(Outcome(result, Timing(backend=self.dispatcher.clock() - self.asked_at)))

    def ended(self, outcome: Outcome) -> None:
        """Hands the outcome on; what a worker asks, sealed."""
        in_dialogue = self.extras is not None and self.extras.input is not None
        if in_dialogue or (isinstance(outcome.result, Answer) and outcome.result.asks):
            outcome = self.dispatcher.talk.ended(self, outcome)
        self.tell(outcome)

    def tell(self, outcome: Outcome) -> None:
        """Hands the outcome on as it is."""
        self.dispatcher.under_way -= 1
        self.told(outcome)

    def ask(self, question: Answer) -> None:
        """Its user is asked before it goes anywhere."""
        self.deliver = None
        asyncio.get_running_loop().call_soon(self.tell, Outcome(question, Timing()))
