"""What the real servers share: a child process of an unprivileged user that accepts connections, or says why not."""

import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

NOBODY = 65534
START_SECONDS = 60.0
STOP_SECONDS = 30.0

_LIBRARIES = ("PATH", "LANG", "LD_LIBRARY_PATH")


class ServerMissing(Exception):
    """The server is not installed on this machine; the message says what to install."""


class ServerFailed(AssertionError):
    """The server did not start or stop. Shows the end of its log."""


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def unprivileged(command: Sequence[str | Path]) -> list[str]:
    """The command as `nobody` when we are root: no database server runs as root."""
    words = [str(word) for word in command]
    if os.geteuid() != 0:
        return words
    if shutil.which("setpriv") is None:
        raise ServerMissing("needs setpriv (Debian: util-linux), since database servers refuse to run as root")
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *words]


class Server(ABC):
    """One server with its data in a folder. A context manager: set up and started, then stopped."""

    url: str
    """Where an ordinary user of the database connects to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if os.geteuid() == 0:
            os.chown(self.folder, NOBODY, NOBODY)
        self._set_up()
        self.start()
        try:
            self._populate()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def _set_up(self) -> None:
        """Makes the data folder."""

    @abstractmethod
    def _command(self) -> list[str | Path]:
        """What runs the server in the foreground."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it takes connections now."""

    @abstractmethod
    def _populate(self) -> None:
        """Makes the users."""

    @abstractmethod
    def connections(self) -> int:
        """How many connections of Penstock it has, by its own count, seen over a connection of an administrator."""

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        """Starts it and returns when it takes connections."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                unprivileged(self._command()), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment()
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None:
                raise ServerFailed(f"{type(self).__name__} ended with {self._process.returncode}:\n{self._tail()}")
            if time.monotonic() > deadline:
                self._end(signal.SIGKILL)
                raise ServerFailed(f"{type(self).__name__} took more than {START_SECONDS:g} s:\n{self._tail()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends it in order: open connections are told."""
        self._end(signal.SIGINT if self.fast_stop_is_sigint else signal.SIGTERM)

    def kill(self) -> None:
        """Ends it as a crash would."""
        self._end(signal.SIGQUIT if self.fast_stop_is_sigint else signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    fast_stop_is_sigint = False

    def run(self, command: Sequence[str | Path]) -> None:
        """Runs a tool of the server to its end. Raises ServerFailed with what it printed."""
        done = subprocess.run(unprivileged(command), capture_output=True, env=self._environment())
        if done.returncode:
            raise ServerFailed(f"{command[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]!r}")

    def _environment(self) -> dict[str, str]:
        inherited = {key: os.environ[key] for key in _LIBRARIES if key in os.environ}
        return {**inherited, "HOME": str(self.folder), "TZ": "UTC", "LC_ALL": "C.UTF-8"}

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ServerFailed(f"{type(self).__name__} did not stop within {STOP_SECONDS:g} s") from None

    def _tail(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2000:]
