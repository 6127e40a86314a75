"""The keyboard of a terminal, key by key: names for what is not a character. It knows nothing of what they mean."""

import os
import select
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

PAUSE_SECONDS = 0.05
"""After so long an escape without a rest is the key, and no beginning of a sequence that the wire has cut."""
READ_BYTES = 1024

NAMES = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"\x1b[B": "down", b"\x1bOB": "down",
    b"\x1b[C": "right", b"\x1bOC": "right", b"\x1b[D": "left", b"\x1bOD": "left",
    b"\x1b[5~": "page up", b"\x1b[6~": "page down",
    b"\x1b[H": "home", b"\x1bOH": "home", b"\x1b[1~": "home", b"\x1b[F": "end", b"\x1bOF": "end", b"\x1b[4~": "end",
    b"\x1b[Z": "back tab", b"\t": "tab", b"\r": "enter", b"\n": "enter", b"\x7f": "backspace", b"\x08": "backspace",
    b"\x1b": "escape",
}  # fmt: skip


@contextmanager
def single_keys(terminal: int) -> Iterator[None]:
    """Has a terminal give each key at once and show none of them; Ctrl-C stays what it is."""
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def read(terminal: int) -> list[str]:
    """The keys that were pressed; to be called when there are some. Empty at the end of the input."""
    typed = os.read(terminal, READ_BYTES)
    while _unfinished(typed) and select.select([terminal], [], [], PAUSE_SECONDS)[0]:
        more = os.read(terminal, READ_BYTES)
        if not more:
            break
        typed += more
    return decoded(typed)


def decoded(typed: bytes) -> list[str]:
    """What a terminal has sent, as keys. A sequence that is not known is no key."""
    keys = []
    while typed:
        piece = _first(typed)
        typed = typed[len(piece) :]
        if (name := NAMES.get(piece)) is not None:
            keys.append(name)
        elif piece[0] >= 0x20 and len(text := piece.decode(errors="ignore")) == 1:
            keys.append(text)
    return keys


def _first(typed: bytes) -> bytes:
    """The first key's bytes: a sequence, a character in UTF-8, or a single byte."""
    if typed[:2] in (b"\x1b[", b"\x1bO"):
        end = next((index for index in range(2, len(typed)) if 0x40 <= typed[index] <= 0x7E), len(typed) - 1)
        return typed[: end + 1]
    end = next((index for index in range(1, len(typed)) if not 0x80 <= typed[index] < 0xC0), len(typed))
    return typed[: end if typed[0] >= 0xC0 else 1]


def _unfinished(typed: bytes) -> bool:
    last = typed.rpartition(b"\x1b")
    return bool(last[1]) and (last[2] in (b"", b"[", b"O") or (last[2][:1] == b"[" and last[2][-1:] in b"0123456789;"))
