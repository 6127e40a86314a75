"""A legacy client for tests: it speaks the worker protocol, and registers itself so that others can count it.

    worker.py FOLDER [--declare ping,reset,cancel] [--streams N] [--licences N] [--meta]
                     [--stubborn] [--child fork|session|spawn]

FOLDER holds a locked file per process, and another one while a process works slowly: a lock dies with its holder and
with nothing else. It is standard library only, and knows nothing of the package under test.

A stubborn one ends neither with its input nor by SIGTERM. A child lives for ever and holds its parent's licence: forked
with all descriptors, the same in a session of its own, or spawned as most programs are, with few descriptors.
"""

import argparse
import fcntl
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE_ROWS = 40
"""What the worker brings at once."""


class Refusal(Exception):
    """An error for the caller."""

    def __init__(self, message: str, code: int = -32000, **data: Any) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, **({"data": data} if data else {})}


class Worker:
    """One login and the state that its requests leave."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.trace: str | None = None
        self.cursors: dict[int, Iterator[list[Any]]] = {}
        self.waiting: list[bytes] = []
        self.partial = b""

    def run(self) -> None:
        while (line := self.next_line(None)) is not None:
            message = json.loads(line)
            if "id" not in message:
                continue  # a cancel or stop of what has ended already
            try:
                answer = {"result": getattr(self, "do_" + message["method"])(message)}
            except Refusal as refusal:
                answer = {"error": refusal.error}
            except AttributeError:
                answer = {"error": {"code": -32601, "message": f"no method {message['method']}"}}
            self.write({"jsonrpc": "2.0", "id": message["id"], **answer})
            if message["method"] == "close":
                return

    def next_line(self, seconds: float | None) -> bytes | None:
        """The next line; b"" when the time is over, None at the end of input."""
        while not self.waiting:
            if seconds is not None and not select.select([0], [], [], seconds)[0]:
                return b""
            data = os.read(0, 65536)
            if not data:
                return None
            *lines, self.partial = (self.partial + data).split(b"\n")
            self.waiting += lines
        return self.waiting.pop(0)

    def write(self, message: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    def note(self, method: str, params: dict[str, Any]) -> None:
        self.write({"jsonrpc": "2.0", "method": method, "params": params})

    # The protocol's own methods.

    def do_open(self, message: dict[str, Any]) -> Any:
        folder, licences = Path(self.options.folder), self.options.licences
        self.registration = lock(folder / f"open-{os.getpid()}")
        if self.options.child:
            have_child(self.options.child, self.registration.fileno())
        if licences and held(folder, "open-*") > licences:
            raise Refusal(f"all {licences} licences are in use", kind="LIMIT")
        declare = [method for method in self.options.declare.split(",") if method]
        return {"protocol": 1, "methods": declare, "streams": self.options.streams, "meta": self.options.meta}

    def do_ping(self, message: dict[str, Any]) -> Any:
        return {}

    def do_reset(self, message: dict[str, Any]) -> Any:
        self.trace = None
        return {}

    def do_close(self, message: dict[str, Any]) -> Any:
        return {}

    def do_stop(self, message: dict[str, Any]) -> Any:
        del self.cursors[message["params"]["id"]]
        return {}

    def do_next(self, message: dict[str, Any]) -> Any:
        return self.page(message["params"]["id"])

    # What the contract asks for.

    def do_echo(self, message: dict[str, Any]) -> Any:
        return message["params"]["value"]

    def do_meta(self, message: dict[str, Any]) -> Any:
        return {"meta": message["params"].get("_meta")}

    def do_environment(self, message: dict[str, Any]) -> Any:
        return dict(os.environ)

    def do_rows(self, message: dict[str, Any]) -> Any:
        self.cursors[message["id"]] = made(**message["params"])
        return {"columns": ["number", "text"], **self.page(message["id"])}

    do_rows_until = do_rows_too_long = do_rows

    def page(self, cursor: int) -> Any:
        """Some rows; an error is the end of them."""
        rows = []
        try:
            rows = list(itertools.islice(self.cursors[cursor], PAGE_ROWS))
        finally:
            if len(rows) < PAGE_ROWS:
                del self.cursors[cursor]
        return {"resultType": "page", "rows": rows, "more": len(rows) == PAGE_ROWS}

    def do_report(self, message: dict[str, Any]) -> Any:
        steps = message["params"]["steps"]
        for step in range(1, steps + 1):
            words = f"step {step} of {steps}"
            self.note("progress", {"id": message["id"], "progress": step, "total": steps, "message": words})
        self.note("log", {"id": message["id"], "level": "info", "data": {"steps": steps}})
        return f"{steps} steps"

    def do_slow(self, message: dict[str, Any]) -> Any:
        mark = Path(self.options.folder) / f"busy-{os.getpid()}"
        held = lock(mark)
        end = time.monotonic() + message["params"]["seconds"]
        try:
            while (left := end - time.monotonic()) > 0:
                if "cancel" not in self.options.declare:
                    time.sleep(left)
                    continue
                line = self.next_line(left)
                if line and json.loads(line)["params"] == {"id": message["id"]}:
                    raise Refusal("cancelled", -32800)
        finally:
            held.close()
        return "done"

    def do_wrong(self, message: dict[str, Any]) -> Any:
        raise Refusal("no such screen")

    def do_write(self, message: dict[str, Any]) -> Any:
        return {"rows_affected": 1}

    def do_leave_trace(self, message: dict[str, Any]) -> Any:
        self.trace = message["params"]["value"]
        return "left"

    def do_see_trace(self, message: dict[str, Any]) -> Any:
        return self.trace


def made(count: int, fail_at: int = -1, long_at: int = -1) -> Iterator[list[Any]]:
    """The rows of a result, until the one that cannot be read."""
    for number in range(count):
        if number == fail_at:
            raise Refusal(f"row {number} cannot be read")
        yield [number, "x" * 100_000 if number == long_at else f"row {number}"]


def have_child(manner: str, registration: int) -> None:
    """Starts a process that outlives its parent and keeps its registration."""
    if manner == "spawn":
        program = "import signal\nwhile True: signal.pause()"
        subprocess.Popen([sys.executable, "-c", program], pass_fds=[registration], stdout=subprocess.DEVNULL)
    elif os.fork() == 0:
        for pipe in (0, 1, 2):
            os.close(pipe)
        if manner == "session":
            os.setsid()
        while True:
            signal.pause()


def lock(path: Path) -> Any:
    """A file that is locked as long as this process lives and keeps it open."""
    file = path.open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def held(folder: Path, pattern: str) -> int:
    """How many of these files are locked: how many processes live, or work."""
    count = 0
    for path in folder.glob(pattern):
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--declare", default="")
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--licences", type=int, default=0)
    parser.add_argument("--meta", action="store_true")
    parser.add_argument("--stubborn", action="store_true")
    parser.add_argument("--child", choices=["fork", "session", "spawn"])
    options = parser.parse_args()
    if options.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Worker(options).run()
    while options.stubborn:
        signal.pause()


if __name__ == "__main__":
    main()
