"""The results that callers have not fetched to their end: who may, by which cursor, how long, and at whose expense.

It opens cursors and finds what they stand for; a result that nobody asks for is given up, and its work with it. It
keeps no result that had its only page, and knows nothing of how pages are cut or stored.
"""

import asyncio
import itertools
import secrets
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import structlog

from pooler.backends.base import Answer
from pooler.clock import Clock, monotonic
from pooler.core import cursors
from pooler.core.cursors import BOOT_BYTES, Cursor, Keyed, Spooled
from pooler.errors import Fault, Reason
from pooler.runtime import keyed
from pooler.runtime.alarms import EARLY_SECONDS
from pooler.runtime.handles import REMEDIES, Sealer, expired, unknown
from pooler.runtime.pages import Limits, Result
from pooler.runtime.spool import Place, Spool
from pooler.runtime.turns import Hands, Pages, Turn
from pooler.runtime.turnstile import Turnstile

log = structlog.get_logger(__name__)

CURSOR_SECONDS = 86_400.0
"""How long a cursor opens at the most. What it stands for is given up earlier, unless it is fetched by key."""
CURSOR = "cursor"
"""The argument of a call that goes on."""
RESULT_BYTES = 6144
"""What a kept result costs beside its rows, as its tenant's account has it; 5.5 kB were measured."""


class Paging(NamedTuple):
    """How an operation's results are cut into pages."""

    operation: str
    rows_max: int
    bytes_max: int
    keys: tuple[str, ...] = ()
    """The columns by which it is paged; none: its rest is kept."""

    def digest(self, arguments: Mapping[str, Any]) -> bytes:
        """Tells this call from all others, and these keys from what they were before a reload."""
        return cursors.digest(" ".join([self.operation, *self.keys]), arguments)

    def check(self, cursor: Cursor, arguments: Mapping[str, Any]) -> None:
        """Raises Fault (INVALID_ARGUMENTS) when a cursor comes with another call than it was made for."""
        if isinstance(cursor, Keyed) != bool(self.keys) or cursor.digest != self.digest(arguments):
            raise Fault(
                Reason.INVALID_ARGUMENTS,
                f"This cursor belongs to another call: repeat the arguments with which {self.operation} was called, "
                f"unchanged, beside `{CURSOR}`; or {REMEDIES['cursor']}.",
            )


class Owner(NamedTuple):
    """Who may fetch."""

    tenant: str
    principal: str


@dataclass(slots=True, eq=False)
class TenantAccount:
    """What a tenant keeps, in bytes."""

    bytes_max: int
    used: int = 0
    holders: set[Result] = field(default_factory=set)

    @property
    def full(self) -> bool:
        """Whether it is as much as it may be."""
        return self.used >= self.bytes_max

    def add(self, count: int) -> None:
        """So many bytes more; fewer when negative."""
        self.used += count
        if count < 0 and not self.full:
            for holder in list(self.holders):
                holder.nudge()


@dataclass(slots=True, eq=False)
class _Kept:
    """A result, and what its cursors must say."""

    result: Result
    owner: Owner
    operation: str
    digest: bytes
    conversation: str
    touched_at: float = 0.0


class Results:
    """All results of a pooler that have a second page. Lives on one loop."""

    def __init__(self, sealer: Sealer, place: Place, limits: Limits, wall: Clock, clock: Clock = monotonic) -> None:
        """`wall`: Unix time, in seconds, for what is sealed; nothing waits for it."""
        self.turnstile = Turnstile()
        self._limits = limits
        self._sealer = sealer
        self._place = place
        self._wall = wall
        self._clock = clock
        self._boot = secrets.token_bytes(BOOT_BYTES)
        self._numbers = itertools.count(1)
        self._kept: dict[int, _Kept] = {}
        """By number; whoever has not been asked for longest comes first."""
        self._timer: asyncio.TimerHandle | None = None
        """Of that one: a timer for each would cost more than all else of a small result."""
        self._accounts: dict[str, TenantAccount] = {}

    def __repr__(self) -> str:
        used = {tenant: account.used for tenant, account in self._accounts.items()}
        return f"Results({len(self._kept)} kept, {used} bytes)"

    # Whose work brings rows

    def window(self, paging: Paging, turn: Turn, hands: Hands) -> Pages:
        """What a turn's work brings its rows to."""
        if paging.keys:
            cursor = partial(self._keyed_cursor, paging, turn)
            return keyed.KeyedPage(paging.operation, paging.keys, paging.rows_max, paging.bytes_max, cursor)
        return Result(self, hands, turn, paging.rows_max, paging.bytes_max)

    # Who fetches

    def open(self, handle: str, tenant: str, principal: str) -> Cursor:
        """What a cursor says. Raises Fault: HANDLE_UNKNOWN, HANDLE_EXPIRED or HANDLE_LOST."""
        data = self._sealer.open(handle, "cursor", tenant, principal)
        try:
            cursor = cursors.decode(data)
        except (ValueError, struct.error):
            unknown("cursor")  # of another revision of this program
        if isinstance(cursor, Spooled):
            self._found(cursor)
        return cursor

    async def fetch(self, cursor: Spooled, timeout_seconds: float) -> Answer:
        """A page of a kept result, once it is there.

        Raises Fault: HANDLE_EXPIRED when the page or the result is there no more, WORK_TIMEOUT when its rows do not
        come in time, and whatever ended the work before they came.
        """
        kept = self._found(cursor)
        self._touch(kept)
        try:
            async with asyncio.timeout(timeout_seconds):
                return Answer(await kept.result.page(cursor.page))
        except TimeoutError:
            raise Fault(
                Reason.WORK_TIMEOUT,
                f"Page {cursor.page} of {kept.operation} was not there after {timeout_seconds:g} s: its rows are still "
                "being fetched. Ask for it again, with the same cursor.",
            ) from None
        finally:
            if cursor.result in self._kept:
                self._touch(kept)

    # How it is kept

    @property
    def limits(self) -> Limits:
        """How much is kept, and for how long."""
        return self._limits

    def limit(self, limits: Limits) -> None:
        """Other limits from now on. What is kept already stays."""
        self._limits = limits
        for account in self._accounts.values():
            account.bytes_max = limits.tenant_bytes
            account.add(0)
        self._watch()

    def keep(self, result: Result, turn: Turn) -> tuple[Spool, TenantAccount]:
        """Takes a result in that has a second page."""
        result.number = next(self._numbers)
        account = self._accounts.get(turn.tenant)
        if account is None:
            account = self._accounts[turn.tenant] = TenantAccount(self._limits.tenant_bytes)
        account.add(RESULT_BYTES)
        kept = _Kept(
            result,
            Owner(turn.tenant, turn.caller.principal),
            turn.operation,
            cursors.digest(turn.operation, turn.arguments),
            turn.caller.conversation,
        )
        self._touch(kept)
        if self._timer is None:
            self._watch()
        return Spool(self._place, self._limits.memory_bytes, account), account

    def cursor(self, result: Result, page: int) -> str:
        """The handle of one of its pages."""
        kept = self._kept.get(result.number)
        if kept is None:
            expired("cursor")
        return self._seal(Spooled(self._boot, result.number, page, kept.digest), kept.owner)

    def end(self, conversation: str) -> None:
        """A conversation is over, and with it what it left open."""
        for kept in [kept for kept in self._kept.values() if kept.conversation == conversation]:
            self._drop(kept)

    def stop(self) -> None:
        """Gives up everything: the pooler ends, and nobody will be able to fetch it."""
        for kept in list(self._kept.values()):
            self._drop(kept)
        self._watch()

    def _found(self, cursor: Spooled) -> _Kept:
        if cursor.boot != self._boot:
            raise Fault(
                Reason.HANDLE_LOST,
                f"The pooler was restarted since this cursor was made, and the result is lost: {REMEDIES['cursor']}.",
            )
        kept = self._kept.get(cursor.result)
        if kept is None:
            expired("cursor")
        return kept

    def _touch(self, kept: _Kept) -> None:
        """Somebody wants it: it goes to the end of those who wait to be given up."""
        self._kept.pop(kept.result.number, None)
        self._kept[kept.result.number] = kept
        kept.touched_at = self._clock()

    def _watch(self) -> None:
        """Sets the timer for whoever is to be given up next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for kept in self._kept.values():
            left = kept.touched_at + self._limits.keep_seconds - self._clock()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, left), self._give_up)
            break

    def _give_up(self) -> None:
        """Drops whoever has not been asked for in time, unless somebody is waiting for it."""
        self._timer = None
        since = self._clock() - self._limits.keep_seconds + EARLY_SECONDS
        for kept in list(self._kept.values()):
            if kept.touched_at > since:
                break
            if kept.result.busy:
                self._touch(kept)
                continue
            log.info("a result was not fetched in time, it is given up", operation=kept.operation, result=kept.result)
            self._drop(kept)
        self._watch()

    def _drop(self, kept: _Kept) -> None:
        del self._kept[kept.result.number]
        kept.result.drop()
        account = self._accounts[kept.owner.tenant]
        account.add(-RESULT_BYTES)
        if not account.used:
            del self._accounts[kept.owner.tenant]

    def _keyed_cursor(self, paging: Paging, turn: Turn, keys: Sequence[Any]) -> str:
        arguments = keyed.without_keys(turn.arguments)
        cursor = Keyed(paging.digest(arguments), paging.operation, keys, cursors.taken_along(arguments))
        return self._seal(cursor, Owner(turn.tenant, turn.caller.principal))

    def _seal(self, cursor: Cursor, owner: Owner) -> str:
        return self._sealer.seal("cursor", cursors.encode(cursor), *owner, self._wall() + CURSOR_SECONDS)
