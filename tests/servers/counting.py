"""The simulated system as a process of its own: what it counts is the oracle, whatever the pool believes."""

import json
import signal
import socket
import sys
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from pooler.backends.simulated.census import Counts, Peak
from pooler.backends.simulated.settings import Manners
from tests.programs import Program

ANSWER_SECONDS = 20.0
"""How long the control port may take to answer; it waits for nobody."""

Facts = dict[str, Any]


class ControlError(AssertionError):
    """The server would not do what it was asked, or what was awaited did not come. Shows its own words."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One session as the server sees it."""

    number: int
    owner: str
    state: str
    requests: int
    left: bool


class CountingServer:
    """One server, which keeps its ports over restarts. A context manager: started, then stopped."""

    def __init__(self, **manners: Any) -> None:
        self._manners = manners
        self._program: Program | None = None
        self.address = "127.0.0.1:0"
        self._control = "127.0.0.1:0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._program is not None:
            self.thaw()  # a stopped process hears no other signal
            self.stop()

    # Its life

    def start(self) -> None:
        """Starts it with its first manners, at its address if it has had one."""
        module = "pooler.backends.simulated.server"
        places = ["--listen", self.address, "--control", self._control]
        self._program = Program([sys.executable, "-m", module, *places, "--manners", json.dumps(self._manners)])
        listening = self._program.await_event("listening")
        self.address, self._control = listening["address"], listening["control"]

    def stop(self) -> None:
        """Ends it in order: its clients see the end of their streams."""
        self._running.stop()
        self._program = None

    def kill(self) -> None:
        """Ends it as a crash would; its clients' sockets are closed by the kernel alone."""
        self._running.kill()
        self._program = None

    def freeze(self) -> None:
        """Stops it in its tracks: the kernel still takes connections and bytes for it."""
        self._running.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        self._running.signal(signal.SIGCONT)

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def _running(self) -> Program:
        assert self._program is not None, "not started"
        return self._program

    # What it sees

    def counts(self) -> Counts:
        """Its sessions by state, now."""
        return Counts(**self._ask("counts"))

    def peak(self) -> Peak:
        """The most sessions that it ever had at once, since its start or the last `forget_peak`."""
        peak = self._ask("peak")
        return Peak(peak["count"], peak["at"], Counts(**peak["counts"]))

    def forget_peak(self) -> None:
        """Lets the peak be counted anew."""
        self._ask("forget_peak")

    def sessions(self) -> list[Seen]:
        """Every session, the oldest first."""
        return [Seen(**session) for session in self._ask("sessions")]

    def wait(self, seconds: float = ANSWER_SECONDS, **counts: int) -> Counts:
        """Blocks until the counts are these, were it for a moment. Raises ControlError when they never are.

        `counts`: any of starting, open, busy, dying and total.
        """
        return Counts(**self._ask("wait", patience=seconds, counts=counts, seconds=seconds))

    # What it does when told to

    def behave(self, **changes: Any) -> None:
        """Changes some of its manners."""
        self._ask("behave", manners=changes)

    def behave_anew(self, **manners: Any) -> None:
        """Gives it these manners and no others."""
        self.behave(**{**Manners().model_dump(mode="json"), **manners})

    def kill_session(self, number: int) -> None:
        """Breaks a session off, by a reset in mid-stream."""
        self._ask("kill", session=number)

    def kill_sessions(self) -> None:
        """Breaks off every session."""
        self._ask("kill")

    def _ask(self, do: str, patience: float = 0.0, **facts: Any) -> Any:
        host, _, port = self._control.rpartition(":")
        with socket.create_connection((host, int(port)), ANSWER_SECONDS) as control:
            control.settimeout(patience + ANSWER_SECONDS)
            control.sendall(json.dumps({"do": do, **facts}).encode() + b"\n")
            with control.makefile("rb") as lines:
                line = lines.readline()
        if not line:
            raise ControlError(f"the server ended before it answered {do!r}:\n{self._running.tail()}")
        reply: Facts = json.loads(line)
        if "error" in reply:
            raise ControlError(reply["error"])
        return reply["answer"]
