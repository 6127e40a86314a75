"""Pinned threads: always the same thread, results in order, and a cancelled wait that still shows what goes on."""

import asyncio
import threading

import pytest

from pooler.runtime.threads import PinnedThread

pytestmark = pytest.mark.anyio


async def test_all_work_runs_in_the_same_thread_and_not_in_the_loops() -> None:
    pinned = PinnedThread("pinned")
    idents = {await pinned.submit(threading.get_ident) for _ in range(5)}
    pinned.end()
    assert len(idents) == 1
    assert threading.get_ident() not in idents


async def test_work_runs_in_the_order_in_which_it_was_submitted() -> None:
    pinned = PinnedThread("pinned")
    seen: list[int] = []
    await asyncio.gather(*(pinned.submit(lambda n=n: seen.append(n)) for n in range(50)))  # type: ignore[misc]
    pinned.end()
    assert seen == list(range(50))


async def test_what_the_work_raises_reaches_the_caller_and_the_thread_lives_on() -> None:
    pinned = PinnedThread("pinned")

    def fail() -> None:
        raise LookupError("not here")

    with pytest.raises(LookupError, match="not here"):
        await pinned.submit(fail)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await pinned.submit(lambda: next(iter(())))
    assert await pinned.submit(lambda: "alive") == "alive"
    pinned.end()


async def test_a_cancelled_wait_does_not_stop_the_work_and_idle_tells_when_it_ends() -> None:
    pinned = PinnedThread("pinned")
    begun, go_on = threading.Event(), threading.Event()
    ended: list[str] = []

    def work() -> None:
        begun.set()
        go_on.wait(10)
        ended.append("done")

    future = pinned.submit(work)
    assert await asyncio.to_thread(begun.wait, 10)
    future.cancel()
    idle = asyncio.ensure_future(pinned.idle())
    await asyncio.sleep(0)
    assert (pinned.busy, idle.done()) == (True, False)
    go_on.set()
    await idle
    assert (pinned.busy, ended) == (False, ["done"])
    pinned.end()


async def test_work_whose_caller_left_before_it_began_never_runs() -> None:
    pinned = PinnedThread("pinned")
    go_on = threading.Event()
    seen: list[str] = []
    first = pinned.submit(lambda: go_on.wait(10))
    second = pinned.submit(lambda: seen.append("second"))
    second.cancel()
    go_on.set()
    await first
    await pinned.idle()
    pinned.end()
    assert seen == []


async def test_a_thread_that_was_ended_finishes_its_work_and_takes_no_more() -> None:
    pinned = PinnedThread("ended")
    last = pinned.submit(threading.current_thread)
    pinned.end()
    pinned.end()
    with pytest.raises(RuntimeError, match="takes no further work"):
        pinned.submit(int)
    thread = await last
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()


async def test_many_threads_share_the_way_back_and_nothing_is_lost() -> None:
    threads = [PinnedThread(str(n)) for n in range(16)]

    async def count(pinned: PinnedThread) -> int:
        return sum([await pinned.submit(lambda: 1) for _ in range(100)])

    assert await asyncio.gather(*map(count, threads)) == [100] * 16
    for pinned in threads:
        pinned.end()


async def test_a_thread_that_hangs_does_not_keep_the_process() -> None:
    pinned = PinnedThread("hanging")
    thread = await pinned.submit(threading.current_thread)
    assert thread.daemon
    pinned.end()
