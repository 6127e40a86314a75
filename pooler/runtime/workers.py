"""One child process with a line-wise conversation: started, listened to, and ended until nothing of it is left.

The child leads a session and a process group of its own, sees only the environment that it is given, inherits the lock
of its slot file, and takes its group with it when it dies. Nothing here knows what the lines mean, and nothing here
blocks the loop.
"""

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Protocol

from structlog.typing import FilteringBoundLogger

from pooler.backends.base import Mark, Tag
from pooler.runtime.chatter import Chatter
from pooler.runtime.endings import to_the_end
from pooler.runtime.groups import group_lives, signal_group
from pooler.runtime.lines import Excerpts, Lines, LineTooLongError
from pooler.runtime.processes import TAG_VARIABLE

LINE_BYTES_MAX = 16 * 1024 * 1024
STDERR_CHARS_MAX = 2_000
INHERITED = ("PATH", "HOME", "LANG", "TZ")
"""All that a child sees of our own environment."""
SETTLE_SECONDS = 0.5
"""End of output and exit status arrive apart, in either order: how long the first one waits for the other."""
POLL_SECONDS_MAX = 0.1
"""Nothing tells when a group becomes empty, so it is asked, at growing intervals up to this."""
CROWDED = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


class SpawnError(Exception):
    """No process was started. `crowded`: this machine has no room for one now, but may have later."""

    def __init__(self, message: str, crowded: bool) -> None:
        super().__init__(message)
        self.crowded = crowded


class Listener(Protocol):
    """Who hears what a child says. Both are called on the loop, and neither may raise."""

    def line(self, line: bytes) -> None:
        """One complete line of its output, without the end of line."""

    def ended(self, how: str) -> None:
        """It will say nothing more; `how` completes the sentence "the worker …". Called once."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to start. `mask` removes secrets from whatever the child writes to its standard error."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str | None = None
    mask: Callable[[str], str] = str
    tag: Tag | None = None
    """Whose it is. It stands in the child's environment, and the child inherits its mark."""

    def environ(self) -> dict[str, str]:
        """The whole environment of the child."""
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        return {**inherited, **self.environment, **({TAG_VARIABLE: str(self.tag)} if self.tag else {})}

    @property
    def mark(self) -> Mark | None:
        """What stands on the disk for it."""
        return self.tag.mark if self.tag else None


class Worker:
    """A running child. Made by `start`; whoever starts one awaits `gone` before forgetting it.

    `subprocess` starts it and not the loop: uvloop leaves the pooler's own descriptors open in a child, and forks in
    a way that wakes the fork handlers of gRPC. A thread waits for its end, as asyncio's own watcher does.
    """

    def __init__(self, program: Program, listener: Listener, log: FilteringBoundLogger) -> None:
        self._loop = asyncio.get_running_loop()
        self._mask = program.mask
        self._listener: Listener | None = listener
        self._chatter = Chatter(log, program.mask, self._loop.time)
        self._output = Lines(LINE_BYTES_MAX)
        self._errors = Excerpts(STDERR_CHARS_MAX)
        self._last_words = ""
        self._exited = asyncio.Event()
        self._settling: asyncio.TimerHandle | None = None
        self._pipes: list[asyncio.BaseTransport] = []
        self._input: asyncio.WriteTransport | None = None
        self._speaking = {"output", "errors"}
        """Those of its pipes that have not come to their end."""
        self._process = _spawn(program)
        if program.mark is not None:
            program.mark.led_by(self.pid)
        try:
            threading.Thread(target=self._watch, name=f"worker-{self.pid}", daemon=True).start()
        except RuntimeError as error:
            self.kill()
            self._process.wait()
            raise SpawnError("the pooler can start no further thread: raise its limit of processes", True) from error

    @classmethod
    async def start(cls, program: Program, listener: Listener, log: FilteringBoundLogger) -> "Worker":
        """Starts a child. Raises SpawnError; a cancellation leaves no child behind."""
        worker = cls(program, listener, log)
        try:
            await worker._connect()
        except BaseException:
            worker.kill()
            await to_the_end(worker.gone(SETTLE_SECONDS))
            raise
        return worker

    async def _connect(self) -> None:
        await self._connect_output(self._process.stdout, _Pipe(self._hear, partial(self._end_of, "output")))
        await self._connect_output(self._process.stderr, _Pipe(self._log_errors, partial(self._end_of, "errors")))
        self._input, _ = await self._loop.connect_write_pipe(asyncio.BaseProtocol, self._process.stdin)
        self._pipes.append(self._input)

    async def _connect_output(self, pipe: IO[bytes] | None, protocol: "_Pipe") -> None:
        transport, _ = await self._loop.connect_read_pipe(lambda: protocol, pipe)
        self._pipes.append(transport)

    # What may be done with a child.

    @property
    def pid(self) -> int:
        """The number of the child, of its group and of its session."""
        return self._process.pid

    def write(self, line: bytes) -> None:
        """Sends one line, to which the end is added. A child that has ended gets nothing; `ended` tells of it."""
        if self._input is not None and not self._input.is_closing():
            self._input.write(line + b"\n")

    def close_input(self) -> None:
        """Ends the child's input, once what was written has been sent."""
        if self._input is not None:
            self._input.close()

    def terminate(self) -> None:
        """Asks the whole group to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the whole group without asking."""
        self._signal(signal.SIGKILL)

    async def exited(self, seconds: float) -> bool:
        """Waits at most so long for the child itself to exit."""
        try:
            async with asyncio.timeout(seconds):
                await self._exited.wait()
        except TimeoutError:
            return False
        return True

    async def gone(self, seconds: float) -> bool:
        """Waits at most so long until the child is reaped and its group is empty; then its pipes are closed too."""
        pause = 0.001
        try:
            async with asyncio.timeout(seconds):
                await self._exited.wait()
                while await asyncio.to_thread(group_lives, self.pid):
                    # Whatever was forked while the group was being killed is in the group as well.
                    signal_group(self.pid, signal.SIGKILL)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, POLL_SECONDS_MAX)
        except TimeoutError:
            return False
        for pipe in self._pipes:
            pipe.close()
        return True

    def __repr__(self) -> str:
        return f"Worker(pid={self.pid}, status={self._process.returncode})"

    def _signal(self, number: signal.Signals) -> None:
        # A number is taken as long as its process has not been reaped; afterwards it may be somebody else's.
        if not self._exited.is_set():
            signal_group(self.pid, number)

    # What the child does.

    def _watch(self) -> None:
        """Waits, in a thread of its own, until the child has exited; where that is possible it is not reaped yet."""
        if hasattr(os, "waitid"):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop has been closed: there is nobody left to tell
            self._loop.call_soon_threadsafe(self._exit)

    def _exit(self) -> None:
        # Not reaped yet, so its number is still its own, and this reaches nothing but what it has left behind.
        self.kill()
        self._process.wait()
        self._exited.set()
        self._settle()

    def _end_of(self, pipe: str) -> None:
        self._speaking.discard(pipe)
        if pipe == "errors":
            self._log(self._errors.flush())
        self._settle()

    def _hear(self, data: bytes) -> None:
        if self._listener is None:
            return
        try:
            lines = self._output.feed(data)
        except LineTooLongError as error:
            self._end(f"wrote {error}")
            return
        for line in lines:
            if self._listener is not None and line.strip():
                self._listener.line(line)

    def _log_errors(self, data: bytes) -> None:
        self._log(self._errors.feed(data))

    def _log(self, texts: list[str]) -> None:
        for text in texts:
            self._last_words = self._mask(text)
            self._chatter.say("info", "worker stderr", text, pid=self.pid)

    # How the listener learns of the end.

    def _settle(self) -> None:
        if self._exited.is_set() and not self._speaking:
            self._tell_end()
        elif self._settling is None and (self._exited.is_set() or "output" not in self._speaking):
            self._settling = self._loop.call_later(SETTLE_SECONDS, self._tell_end)

    def _tell_end(self) -> None:
        words = f"; its last words: {self._last_words[:300]}" if self._last_words else ""
        self._end(_how_it_ended(self._process.returncode) + words)

    def _end(self, how: str) -> None:
        if self._settling is not None:
            self._settling.cancel()
        self._chatter.account()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.ended(how)


class _Pipe(asyncio.Protocol):
    """One pipe that a child writes to."""

    def __init__(self, feed: Callable[[bytes], None], end: Callable[[], None]) -> None:
        self._feed = feed
        self._end = end

    def data_received(self, data: bytes) -> None:
        self._feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()


def _spawn(program: Program) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(  # noqa: S603 - the command is the operator's, and no shell reads it
            program.command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=program.environ(),
            cwd=program.directory,
            pass_fds=(program.mark.descriptor,) if program.mark is not None else (),
            start_new_session=True,
        )
    except OSError as error:
        raise SpawnError(_spawn_fault(program, error), error.errno in CROWDED) from error


def _how_it_ended(status: int | None) -> str:
    if status is None:
        return "closed its output"
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed by {name}"


def _spawn_fault(program: Program, error: OSError) -> str:
    """What to do about a process that could not be started. Arguments may be secrets: only the first word is named."""
    word = program.command[0]
    if program.directory is not None and not os.path.isdir(program.directory):
        return f"the directory {program.directory!r} of the command {word!r} does not exist: correct `directory`"
    if error.errno == errno.ENOENT and os.path.exists(os.path.join(program.directory or "", word)):
        return f"the command {word!r} names an interpreter in its first line that does not exist: correct that line"
    if error.errno == errno.ENOENT:
        return f"the command {word!r} was not found: give its full path in `command`, or put it on the pooler's PATH"
    if error.errno == errno.EACCES:
        return f"the command {word!r} may not be executed: chmod +x it, or start it by its interpreter"
    if error.errno == errno.ENOEXEC:
        return f"the command {word!r} is no program: begin the file with `#!`, or name its interpreter in `command`"
    return f"the command {word!r} could not be started: {error.strerror}"
