"""Clean-ups that nobody cuts short."""

import asyncio

import pytest

from pooler.runtime.endings import to_the_end
from tests.simulation import virtual


def test_a_clean_up_ends_although_it_is_cancelled_again_and_again():
    async def scene() -> None:
        ended: list[float] = []

        async def clean_up() -> None:
            await asyncio.sleep(10)
            ended.append(asyncio.get_running_loop().time() - virtual.STARTED_AT)

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            except BaseException:
                await to_the_end(clean_up())
                raise

        task = asyncio.ensure_future(work())
        for second in range(1, 9):
            asyncio.get_running_loop().call_later(second, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [11]

    virtual.run(scene())


def test_a_clean_up_that_fails_says_so():
    async def scene() -> None:
        async def clean_up() -> None:
            raise OSError("the pipe is broken")

        with pytest.raises(OSError, match="the pipe is broken"):
            await to_the_end(clean_up())

    virtual.run(scene())
