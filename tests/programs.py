"""Starts the real programs as processes of their own, on free ports, and ends exactly those.

A program is ready when its log says that it listens. Its log is kept, so that a failing test can show it.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

READY_SECONDS = 30.0
"""A program that is not ready by then never will be; on a busy machine imports alone take several."""


class ProgramFailed(AssertionError):
    """A program that ended, or did not do what was awaited. Shows the end of its log."""


class Program:
    """One child process whose standard error is its log, one JSON object a line."""

    def __init__(self, command: list[str], environment: Mapping[str, str] | None = None) -> None:
        self.log: list[dict[str, Any]] = []
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, env={**os.environ, **(environment or {})}, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def await_event(self, event: str, seconds: float = READY_SECONDS, **facts: Any) -> dict[str, Any]:
        """The next log line with this event and these facts. Raises ProgramFailed when none comes."""
        while True:
            try:
                line = self._lines.get(timeout=seconds)
            except queue.Empty:
                raise ProgramFailed(f"no {event!r} within {seconds:g} s:\n{self.tail()}") from None
            if line is None:
                self._lines.put(None)
                raise ProgramFailed(f"ended with {self.process.wait()} before {event!r}:\n{self.tail()}")
            if line.get("event") == event and facts.items() <= line.items():
                return line

    def tail(self, lines: int = 40) -> str:
        """The end of the log, for whoever reads a failure."""
        return "\n".join(json.dumps(line, default=str) for line in self.log[-lines:])

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """As the machine would: no last words."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 40.0) -> int:
        """Asks it to end, waits until it has, and returns its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ProgramFailed(f"did not end within {seconds:g} s:\n{self.tail()}") from None
        finally:
            self._reader.join(seconds)

    def cpu_seconds(self) -> float:
        """CPU that it has used so far, its threads included."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            line = _parsed(text)
            self.log.append(line)
            self._lines.put(line)
        self._lines.put(None)


def _parsed(text: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError:
        return {"text": text.rstrip()}
    return line if isinstance(line, dict) else {"text": text.rstrip()}


class Pooler(Program):
    """A pooler on free ports, with its state in `folder`. `config`: the file's content but for the addresses."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.file = folder / "penstock.yaml"
        self._own = {"listen": "127.0.0.1:0", "http": "127.0.0.1:0", "state_dir": str(folder / "state")}
        self.write(config)
        super().__init__([sys.executable, "-m", "pooler", "--config", str(self.file)])
        listening = self.await_event("listening")
        self.address: str = listening["address"]
        self.http: str = listening["http"]

    def write(self, config: dict[str, Any]) -> None:
        """Writes the configuration; SIGHUP makes a running pooler read it."""
        pooler = {**self._own, "log_format": "json", **config.get("pooler", {})}
        self.file.write_text(yaml.safe_dump({**config, "pooler": pooler}))

    def reload(self, config: dict[str, Any]) -> None:
        """Makes it take on another configuration, and waits until it has."""
        self.write(config)
        self.signal(signal.SIGHUP)
        self.await_event("configuration reloaded")


class RoundRobin(Program):
    """A dumb proxy on a free port, that gives each request to the next of these frontends."""

    def __init__(self, *urls: str) -> None:
        super().__init__([sys.executable, "-m", "tests.round_robin", *urls])
        self.url: str = self.await_event("listening")["url"]


class Frontend(Program):
    """A frontend on a free port, of the pooler at this address. `settings`: more of its keys."""

    def __init__(self, pooler: str, **settings: Any) -> None:
        keys = {"listen": "127.0.0.1:0", "pooler": pooler, "log_format": "json", **settings}
        environment = {
            f"PENSTOCK_FRONTEND_{key.upper()}": value if isinstance(value, str) else json.dumps(value)
            for key, value in keys.items()
        }
        super().__init__([sys.executable, "-m", "frontend"], environment)
        self.address: str = self.await_event("listening")["address"]
        self.url = f"http://{self.address}/mcp"
