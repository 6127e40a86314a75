"""One child process with a line-wise conversation: started, listened to, and ended until nothing of it is left.

The child leads a session and a process group of its own, sees only the environment that it is given, and takes its
group with it when it dies. Nothing here knows what the lines mean, and nothing here blocks the loop.
"""

import asyncio
import errno
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast

from structlog.typing import FilteringBoundLogger

from pooler.runtime.chatter import Chatter
from pooler.runtime.groups import group_lives, signal_group
from pooler.runtime.lines import Excerpts, Lines, LineTooLongError

LINE_BYTES_MAX = 16 * 1024 * 1024
STDERR_CHARS_MAX = 2_000
INHERITED = ("PATH", "HOME", "LANG", "TZ")
"""All that a child sees of our own environment."""
SETTLE_SECONDS = 0.5
"""End of output and exit status arrive apart, in either order: how long the first one waits for the other."""
POLL_SECONDS_MAX = 0.1
"""Nothing tells when a group becomes empty, so it is asked, at growing intervals up to this."""
CROWDED = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})

STDIN, STDOUT, STDERR = 0, 1, 2


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

    def environ(self) -> dict[str, str]:
        """The whole environment of the child."""
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        return {**inherited, **self.environment}


class Worker(asyncio.SubprocessProtocol):
    """A running child. Made by `start`; whoever starts one awaits `gone` before forgetting it."""

    def __init__(self, program: Program, listener: Listener, log: FilteringBoundLogger) -> None:
        loop = asyncio.get_running_loop()
        self._program = program
        self._listener: Listener | None = listener
        self._chatter = Chatter(log, program.mask, loop.time)
        self._output = Lines(LINE_BYTES_MAX)
        self._errors = Excerpts(STDERR_CHARS_MAX)
        self._last_words = ""
        self._open_pipes = {STDOUT, STDERR}
        self._exited = asyncio.Event()
        self._settling: asyncio.TimerHandle | None = None
        self._transport: asyncio.SubprocessTransport | None = None

    @classmethod
    async def start(cls, program: Program, listener: Listener, log: FilteringBoundLogger) -> "Worker":
        """Starts a child. Raises SpawnError; a cancellation leaves no child behind."""
        worker = cls(program, listener, log)
        spawning = asyncio.ensure_future(worker._spawn())
        try:
            await asyncio.shield(spawning)
        except asyncio.CancelledError:
            # The spawn is left to end, which takes milliseconds: only a child whose number is known can be killed.
            await asyncio.wait({spawning})
            if not spawning.cancelled() and spawning.exception() is None:
                worker.kill()
                await worker.gone(SETTLE_SECONDS)
            raise
        return worker

    async def _spawn(self) -> None:
        program = self._program
        try:
            await asyncio.get_running_loop().subprocess_exec(
                lambda: self,
                *program.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=program.environ(),
                cwd=program.directory,
                start_new_session=True,
            )
        except OSError as error:
            raise SpawnError(_spawn_fault(program, error), error.errno in CROWDED) from error

    # What may be done with a child.

    @property
    def pid(self) -> int:
        """The number of the child, of its group and of its session."""
        assert self._transport is not None
        return self._transport.get_pid()

    def write(self, line: bytes) -> None:
        """Sends one line, to which the end is added. A child that has ended gets nothing; `ended` tells of it."""
        pipe = self._input()
        if not pipe.is_closing():
            pipe.write(line + b"\n")

    def close_input(self) -> None:
        """Ends the child's input, once what was written has been sent."""
        self._input().close()

    def terminate(self) -> None:
        """Asks the whole group to end."""
        if not self._exited.is_set():
            signal_group(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Ends the whole group without asking."""
        signal_group(self.pid, signal.SIGKILL)

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
        assert self._transport is not None
        pause = 0.001
        try:
            async with asyncio.timeout(seconds):
                await self._exited.wait()
                while await asyncio.to_thread(group_lives, self.pid):
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, POLL_SECONDS_MAX)
        except TimeoutError:
            return False
        self._transport.close()
        return True

    def __repr__(self) -> str:
        return f"Worker(pid={self.pid}, exited={self._exited.is_set()})"

    def _input(self) -> asyncio.WriteTransport:
        assert self._transport is not None
        return cast(asyncio.WriteTransport, self._transport.get_pipe_transport(STDIN))

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == STDERR:
            self._log_errors(self._errors.feed(data))
        elif self._listener is not None:
            self._read_output(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open_pipes.discard(fd)
        if fd == STDERR:
            self._log_errors(self._errors.flush())
        if fd != STDIN:
            self._settle(at_once=self._exited.is_set() and not self._open_pipes)

    def process_exited(self) -> None:
        # Its number stays taken as the group's while a grandchild lives, and is not given away again within the moment
        # since the child was reaped; so this can only reach what the child has left behind.
        self.kill()
        self._exited.set()
        self._settle(at_once=not self._open_pipes)

    # How the listener learns.

    def _read_output(self, data: bytes) -> None:
        try:
            lines = self._output.feed(data)
        except LineTooLongError as error:
            self._end(f"wrote {error}")
            return
        for line in lines:
            if self._listener is not None and line.strip():
                self._listener.line(line)

    def _log_errors(self, texts: list[str]) -> None:
        for text in texts:
            self._last_words = text
            self._chatter.say("info", "worker stderr", text, pid=self.pid)

    def _settle(self, at_once: bool) -> None:
        if at_once:
            self._tell_end()
        elif self._settling is None and (self._exited.is_set() or STDOUT not in self._open_pipes):
            self._settling = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._tell_end)

    def _tell_end(self) -> None:
        status = self._transport.get_returncode() if self._transport is not None else None
        words = f"; its last words: {self._program.mask(self._last_words)[:300]}" if self._last_words else ""
        self._end(_how_it_ended(status) + words)

    def _end(self, how: str) -> None:
        if self._settling is not None:
            self._settling.cancel()
        self._chatter.account()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.ended(how)


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
