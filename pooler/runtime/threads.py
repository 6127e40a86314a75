"""Pinned threads: one long-lived thread per connection, for drivers that block and that stay in one thread.

Work goes in through a queue of the thread's own; results come back to the event loop through a `Landing` that all
threads of a loop share, so that results which arrive together wake the loop once. A hand-over costs about 20 µs of CPU
there and back, at 1 to 64 callers (`run_in_executor`: 38 for one; it keeps no thread, and hides when work really ends).
A thread is a daemon: a driver that hangs cannot keep the process alive. Nothing here knows a driver, bounds how long
work may take, or stops a thread that is inside a call: nobody can.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any, ClassVar, TypeVar
from weakref import WeakKeyDictionary, ref

import structlog

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Job:
    """One function for a thread, and what came of it."""

    work: Callable[[], Any]
    future: asyncio.Future[Any]
    thread: "PinnedThread"
    result: Any = None
    error: BaseException | None = None

    def run(self) -> None:
        if self.future.cancelled():
            return  # the caller left before the thread got here
        try:
            self.result = self.work()
        except BaseException as error:  # noqa: BLE001 - handed to the caller, as everything a driver raises
            self.error = error

    def settle(self) -> None:
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        elif isinstance(self.error, StopIteration):
            self.future.set_exception(RuntimeError("the work ended with StopIteration"))  # a future refuses it
        else:
            self.future.set_exception(self.error)


class Landing:
    """Where results of a loop's threads come in. At most one wake-up of the loop is under way."""

    _of: ClassVar["WeakKeyDictionary[asyncio.AbstractEventLoop, Landing]"] = WeakKeyDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = ref(loop)  # held weakly, or the table's own weak hold on it would be for nothing
        self._landed: deque[_Job] = deque()
        self._awake = False

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "Landing":
        landing = cls._of.get(loop)
        if landing is None:
            landing = cls._of[loop] = cls(loop)
        return landing

    def put(self, job: _Job) -> None:
        """Called in a thread. Appended before the flag is read: at worst the loop is woken once too often."""
        self._landed.append(job)
        if not self._awake:
            self._awake = True
            loop = self._loop()
            if loop is None or loop.is_closed():
                self._landed.clear()  # nobody waits any more
                return
            with suppress(RuntimeError):  # closed just now
                loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        """Called in the loop. The flag falls before the first look: what comes later wakes the loop again."""
        self._awake = False
        while self._landed:
            job = self._landed.popleft()
            job.thread.landed(job)


class PinnedThread:
    """A thread that runs one function after another. All methods belong to the loop that made it."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._landing = Landing.of(self._loop)
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._under_way = 0
        self._ended = False
        self._idlers: list[asyncio.Future[None]] = []
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        state = "ended" if self._ended else f"{self._under_way} under way"
        return f"PinnedThread({self._thread.name!r}, {state})"

    @property
    def busy(self) -> bool:
        """Whether the thread has work, wanted by somebody or not."""
        return self._under_way > 0

    @property
    def ended(self) -> bool:
        """Whether it takes no further work; it may still have some."""
        return self._ended

    def submit(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Runs a function in the thread, after those before it.

        Cancelling the future lets go of the result, and of work that has not begun; work that has begun goes on, and
        `idle` tells when it has ended. Raises RuntimeError after `end`.
        """
        if self._ended:
            raise RuntimeError(f"{self!r} takes no further work")
        job = _Job(work, self._loop.create_future(), self)
        self._under_way += 1
        self._queue.put(job)
        return job.future

    async def idle(self) -> None:
        """Returns when no work is under way. Bound it with `asyncio.timeout`: a driver may hang for ever."""
        while self._under_way:
            waiter = self._loop.create_future()
            self._idlers.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._idlers:
                    self._idlers.remove(waiter)

    def end(self) -> None:
        """Lets the thread end after the work that it has. Does not wait; may be called again."""
        if not self._ended:
            self._ended = True
            self._queue.put(None)

    def landed(self, job: _Job) -> None:
        """Called by the landing, in the loop."""
        self._under_way -= 1
        if job.error is not None and job.future.cancelled():
            log.debug("abandoned work failed", thread=self._thread.name, error=type(job.error).__name__)
        job.settle()
        if not self._under_way:
            idlers, self._idlers = self._idlers, []
            for waiter in idlers:
                if not waiter.done():
                    waiter.set_result(None)

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            job.run()
            self._landing.put(job)
            del job  # or the thread would keep the last result alive until the next work
