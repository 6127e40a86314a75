"""Whatever the sizes, the pace of the backend and the habits of its reader are: every row once, and in order."""

import asyncio
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pooler.runtime.pages import Limits
from pooler.runtime.results import RESULT_BYTES
from tests.simulation import virtual
from tests.simulation.reading import Reading, numbers

BATCH_BYTES = 4000
"""What a batch of the simulated rows takes at the most, so much may be kept past the bound."""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    count=st.integers(0, 700),
    page_rows=st.integers(1, 150),
    page_bytes=st.integers(1024, 4000),
    memory_bytes=st.integers(0, 3000),
    tenant_bytes=st.integers(0, 12_000),
    seconds=st.sampled_from([0.0, 0.1, 5.0]),
    habits=st.lists(st.tuples(st.sampled_from([0.0, 0.05, 20.0]), st.booleans()), min_size=1, max_size=6),
)
@example(count=0, page_rows=1, page_bytes=1024, memory_bytes=0, tenant_bytes=0, seconds=0.0, habits=[(0.0, True)])
@example(count=100, page_rows=100, page_bytes=4000, memory_bytes=0, tenant_bytes=0, seconds=0.0, habits=[(0.0, True)])
def test_every_row_comes_once_and_in_order_to_a_reader_who_comes_in_time(
    tmp_path: Path,
    count: int,
    page_rows: int,
    page_bytes: int,
    memory_bytes: int,
    tenant_bytes: int,
    seconds: float,
    habits: list[tuple[float, bool]],
) -> None:
    async def scene() -> None:
        limits = Limits(memory_bytes, RESULT_BYTES + tenant_bytes, keep_seconds=100.0, hold_seconds=1e6)
        reading = Reading(tmp_path, limits, page_rows=page_rows, page_bytes=page_bytes, timeout=1e6)
        call: dict[str, Any] = {"count": count, "seconds": seconds}
        tables = [await reading.page(**call)]
        while handle := tables[-1].get("next_cursor"):
            pause, again = habits[len(tables) % len(habits)]
            await asyncio.sleep(pause)
            tables.append(await reading.page(cursor=handle, **call))
            if again:
                assert (await reading.page(cursor=handle, **call))["rows"] == tables[-1]["rows"]
            assert reading.used() <= limits.tenant_bytes + 2 * page_bytes + BATCH_BYTES
        assert numbers(tables) == list(range(count))
        assert not any("truncated" in table for table in tables)
        assert all(0 < table["row_count"] <= page_rows for table in tables) or count == 0
        assert len(tables) >= count / page_rows
        await asyncio.sleep(limits.keep_seconds + 1)
        assert (reading.used(), reading.rig.busy(), len(reading.results._kept)) == (0, 0, 0)
        assert reading.rig.violations == []

    virtual.run(scene())
