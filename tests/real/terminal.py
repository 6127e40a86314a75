"""A program in a terminal of its own: what it shows, as a person would see it, and the keys that are pressed."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

PATIENCE_SECONDS = 30.0
PENSTOCK = str(Path(sys.executable).parent / "penstock")


class Terminal:
    """`penstock` with these arguments, until the block ends. Shows its screen when what was awaited does not come."""

    def __init__(
        self, *arguments: str, columns: int = 80, lines: int = 24, environment: Mapping[str, str] | None = None
    ) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._terminal, theirs = pty.openpty()
        self._set_size(columns, lines)
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self._process = subprocess.Popen(
            ["setsid", "--ctty", PENSTOCK, *arguments],  # Ctrl-C and sizes are for whose terminal it is
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            # Its size is the window's: a size that stands in the environment would hold whatever the window becomes.
            env={**inherited, "TERM": "xterm-256color", **(environment or {})},
        )
        os.close(theirs)

    @property
    def lines(self) -> list[str]:
        """What it shows at this moment."""
        return list(self._screen.display)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def press(self, keys: str) -> None:
        """Types."""
        os.write(self._terminal, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Makes the window another one."""
        self._screen.resize(lines, columns)
        self._set_size(columns, lines)

    def until(self, *words: str, gone: str = "", last: str = "") -> None:
        """Until the screen has all of these words, its last line those, and nothing of what shall be gone."""

        def shown() -> bool:
            present = all(each in self.text for each in words) and last in self.lines[-1]
            return present and not (gone and gone in self.text)

        self._await(shown, f"{words}, and {last!r} in its last line")

    def ended(self) -> int:
        """Its exit status, once it has ended."""
        self._await(lambda: self._process.poll() is not None, "its end")
        return self._process.wait()

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.press("\x03")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._terminal)

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"never showed {what}; its status is {self._process.poll()}:\n{self.text}")
            if select.select([self._terminal], [], [], 0.05)[0]:
                try:
                    self._stream.feed(os.read(self._terminal, 65_536))
                except OSError:  # it has ended, and its terminal with it
                    time.sleep(0.01)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
