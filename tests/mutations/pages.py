"""The breaks of what holds for large results and slow readers, beside those of the pool itself in `breaks`."""

from tests.mutations.change import Break

PAGES, RESULTS, SPOOL = "pooler/runtime/pages.py", "pooler/runtime/results.py", "pooler/runtime/spool.py"

BREAKS = (
    Break(
        37,
        "tells the first page when all of them are there",
        PAGES,
        "        self._hands.deliver_early(self._turn, Answer(self._first))\n",
        "",
    ),
    Break(
        37,
        "lets a reader who has stopped keep the connection",
        PAGES,
        "asyncio.timeout(self._keeper.limits.hold_seconds)",
        "asyncio.timeout(None)",
    ),
    Break(
        37,
        "cuts a result and does not say so",
        PAGES,
        "self._put(cut, _CUT if more else _LAST)",
        "self._put(cut, _LAST)",
    ),
    Break(
        37,
        "holds up what somebody is waiting for",
        PAGES,
        "self._account.full and not self._waiting",
        "self._account.full",
    ),
    Break(
        37,
        "keeps more than its tenant may, as long as there is more",
        PAGES,
        "if self._crowded and not await self._held():",
        "if self._crowded and self._crowded is None:",
    ),
    Break(
        37,
        "never gives up what nobody fetches",
        RESULTS,
        "if kept.touched_at > since:",
        "if kept.touched_at:",
    ),
    Break(
        37,
        "keeps what has been fetched",
        SPOOL,
        "            self._account.add(self._start - before)\n",
        "",
    ),
)
