"""One call's result, page by page: the window that its work brings rows to, and what is fetched from it afterwards.

The first page is told as soon as there is a row behind it, and the work goes on. What comes then is kept in a spool
until somebody asks for it, in whole pages, so that a page is the same however often it is fetched. When the tenant
keeps as much as it may, the work is held up for a while and then stopped, and the last page says that it was cut. It
knows no cursor and no caller: `results.py` does.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import structlog

from pooler.backends.base import Answer
from pooler.backends.tables import BATCH_ROWS, TRUNCATED, Cut, Cutter, next_cursor, page_body
from pooler.core.cursors import FIRST_PAGE, Progress
from pooler.errors import Fault, Reason
from pooler.runtime.handles import REMEDIES
from pooler.runtime.spool import Account, Spool
from pooler.runtime.turns import Hands, Turn
from pooler.runtime.turnstile import Turnstile

log = structlog.get_logger(__name__)

CURSOR_BYTES = 160
"""What a page keeps free for its `next_cursor`: a spooled one has some 110 characters, with a pooler's usual name."""

_MORE, _LAST, _CUT = b"+", b".", b"!"
_COUNT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of results is kept, and for how long."""

    memory_bytes: int = 1 << 20
    """Of each result, in memory; the rest goes into a file."""
    tenant_bytes: int = 256 << 20
    """Of all results of a tenant, wherever they are."""
    keep_seconds: float = 300.0
    """Since the last fetch."""
    hold_seconds: float = 30.0
    """How long work waits for its tenant to fetch something, before it is stopped."""


class TenantAccount(Account, Protocol):
    """What a tenant keeps."""

    holders: "set[Result]"
    """Who is to be nudged when it is less."""

    @property
    def full(self) -> bool:
        """Whether it is as much as it may be."""


class Keeper(Protocol):
    """Who keeps the results that have a second page."""

    turnstile: Turnstile
    """What all of them pass before they bring more."""

    @property
    def limits(self) -> Limits:
        """How much is kept, and for how long."""

    def keep(self, result: "Result", turn: Turn) -> tuple[Spool, TenantAccount]:
        """Takes a result in, and says where its rows go and who pays for them."""

    def cursor(self, result: "Result", page: int) -> str:
        """The handle of one of its pages."""


class Result:
    """One call's result. A window (`base.Window`) to the adapter, and pages to whoever has its cursor."""

    __slots__ = (
        "_account",
        "_columns",
        "_cutter",
        "_fault",
        "_first",
        "_hands",
        "_keeper",
        "_made",
        "_paging",
        "_progress",
        "_spool",
        "_turn",
        "_waiting",
        "_watchers",
        "number",
    )

    batch_rows = BATCH_ROWS

    def __init__(self, keeper: Keeper, hands: Hands, turn: Turn, rows_max: int, bytes_max: int) -> None:
        self.number = 0
        """What the keeper calls it."""
        self._keeper = keeper
        self._hands = hands
        self._turn: Turn | None = turn
        """Until its work is over."""
        self._paging = (rows_max, bytes_max)
        self._cutter: Cutter | None = None
        """Until then as well."""
        self._columns = b""
        """Their names, written."""
        self._first: bytes | None = None
        """The first page, once it was told, until the work is over."""
        self._made = 0
        """How many pages are complete."""
        self._fault: Fault | None = None
        """Why there is no further page, where there should be one."""
        self._spool: Spool | None = None
        self._account: TenantAccount | None = None
        self._progress = Progress()
        self._waiting = 0
        """How many are waiting for a page."""
        self._watchers: list[asyncio.Future[None]] = []
        """Everybody who waits for something to change."""

    def __repr__(self) -> str:
        state = "at work" if self._turn else "complete" if self._fault is None else f"ended: {self._fault.reason}"
        return f"Result({self._made} pages, asked for {self._progress.asked}, {self._spool!r}, {state})"

    # What its work says

    def open(self, columns: Sequence[str]) -> None:
        """The result is a table with these columns; what an earlier attempt has brought is forgotten."""
        self._cutter = Cutter(columns, *self._paging, CURSOR_BYTES)
        self._columns = self._cutter.columns

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """More rows. Raises BackendError (TOO_LARGE) for one that fits no page."""
        if self._turn is None:
            return  # it is being stopped
        assert self._cutter is not None, "rows before their columns"
        for cut in self._cutter.add(rows):
            if self._spool is None:
                self._tell(cut)
            else:
                self._put(cut, _MORE)

    async def room(self) -> bool:
        """Waits until more rows are wanted. False: they never will be."""
        if self._spool is not None and self._turn is not None:
            try:
                await self._spool.settle()
            except OSError as error:
                self.fail(_unkept(error))
            if self._crowded and not await self._held():
                return False
            await self._keeper.turnstile.through()
        return self._turn is not None

    def close(self, more: bool = False) -> bytes:
        """There are no more rows, or (`more`) none that will be fetched: the body of the first page."""
        if self._turn is None:
            return b""  # it has failed, and everybody who has to know that does
        assert self._cutter is not None, "the end of a table before its columns"
        cut = self._cutter.rest()
        if self._spool is None:
            self._end()
            return page_body(self._columns, cut, TRUNCATED if more else b"")
        first, self._first = self._first or b"", None
        self._put(cut, _CUT if more else _LAST)
        self._end()
        return first

    def fail(self, fault: Fault) -> None:
        """There will be no more rows, for this reason: whoever asks for the page that they were to be on hears it."""
        if self._turn is None:
            return
        if self._spool is not None and self._cutter is not None and self._cutter.full:
            self._put(self._cutter.rest(), _MORE)  # a whole page: what is missing would be on the next one
        self._fault = fault
        self._end()

    # Who fetches

    @property
    def more(self) -> bool:
        """Whether there are pages behind the first one, as far as is known."""
        return self.number > 0

    @property
    def busy(self) -> bool:
        """Whether somebody is waiting for a page of it."""
        return self._waiting > 0

    async def page(self, number: int) -> bytes:
        """A page, once it is there. Raises Fault when it is not there any more, or will never be."""
        spool = self._spool
        if spool is None or self._progress.offset(number) is None:
            _gone(number)
        spool.free(self._progress.ask(number))
        await self._complete(number)
        if (offset := self._progress.offset(number)) is None or self._spool is None:
            _gone(number)  # while it was waited for
        try:
            record, end = await spool.read(offset)
        except OSError as error:
            raise _unkept(error) from error
        self._progress.read(number, end)
        return self._body(number, record)

    def drop(self) -> None:
        """Nobody will fetch it any more: its work is stopped, its bytes are freed."""
        turn, spool = self._turn, self._spool
        self._spool = None
        if spool is not None:
            spool.close()
        self.fail(Fault(Reason.HANDLE_EXPIRED, f"The rest of this result was given up: {REMEDIES['cursor']}."))
        if turn is not None:
            self._hands.cancel(turn)

    def nudge(self) -> None:
        """Something has changed: whoever waits looks again."""
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)

    # Inside

    @property
    def _crowded(self) -> bool:
        """Whether to wait with more rows. Never while somebody waits for them: he is about to take some."""
        return self._turn is not None and self._account is not None and self._account.full and not self._waiting

    def _tell(self, cut: Cut) -> None:
        assert self._turn is not None
        self._spool, self._account = self._keeper.keep(self, self._turn)
        self._made = FIRST_PAGE
        cursor = next_cursor(self._keeper.cursor(self, FIRST_PAGE + 1))
        self._first = page_body(self._columns, cut, cursor)
        self._hands.deliver_early(self._turn, Answer(self._first))

    def _put(self, cut: Cut, mark: bytes) -> None:
        assert self._spool is not None
        self._spool.put(mark + cut.row_count.to_bytes(_COUNT_BYTES, "big") + cut.rows)
        self._made += 1
        self.nudge()

    def _body(self, number: int, record: bytes) -> bytes:
        mark, count, rows = record[:1], record[1 : 1 + _COUNT_BYTES], record[1 + _COUNT_BYTES :]
        cut = Cut(rows, int.from_bytes(count, "big"))
        if mark == _MORE:
            return page_body(self._columns, cut, next_cursor(self._keeper.cursor(self, number + 1)))
        return page_body(self._columns, cut, TRUNCATED if mark == _CUT else b"")

    async def _complete(self, number: int) -> None:
        """Waits until a page is complete. Raises the fault because of which it never will be."""
        self._waiting += 1
        self.nudge()
        try:
            while self._made < number:
                if self._fault is not None:
                    raise Fault(self._fault.reason, self._fault.message, self._fault.metadata)
                assert self._turn is not None, f"a cursor to page {number} of {self!r}"
                await self._change()
        finally:
            self._waiting -= 1

    async def _held(self) -> bool:
        """Holds the work up until its tenant keeps less, or somebody waits for rows. False: nobody did in time."""
        assert self._account is not None
        self._account.holders.add(self)
        try:
            async with asyncio.timeout(self._keeper.limits.hold_seconds):
                while self._crowded:
                    await self._change()
        except TimeoutError:
            log.info("a result is cut: its tenant keeps as much as it may", pages=self._made)
            return False
        finally:
            self._account.holders.discard(self)
        return True

    async def _change(self) -> None:
        watcher = asyncio.get_running_loop().create_future()
        self._watchers.append(watcher)
        try:
            await watcher
        finally:
            if watcher in self._watchers:
                self._watchers.remove(watcher)

    def _end(self) -> None:
        self._turn = self._cutter = None
        self.nudge()


def _gone(page: int) -> NoReturn:
    raise Fault(
        Reason.HANDLE_EXPIRED,
        f"Page {page} is there no more, since a page can be fetched again until the next but one has been asked for: "
        f"{REMEDIES['cursor']}.",
    )


def _unkept(error: OSError) -> Fault:
    log.error("the rest of a result cannot be kept", error=error.strerror)
    return Fault(
        Reason.SPOOL_FULL,
        f"The rest of the result could not be kept on the pooler's disk ({error.strerror}): ask for less, or "
        f"{REMEDIES['cursor']} later.",
    )
