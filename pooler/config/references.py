"""Fills in `${NAME}` and `${file:PATH}`, and remembers what came from outside, so that it can be masked.

It never looks at anything but texts, and never shows a value that it filled in.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SECRET_BYTES_MAX = 65_536
"""A secret is a line or a certificate; a larger file is a mistyped path."""

_REFERENCE = re.compile(r"(\$?)\$\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ReferenceFault(Exception):
    """A reference that cannot be filled in. The message never has more than the name of what is missing."""


@dataclass(frozen=True)
class References:
    """Where references are looked up: the environment, and files relative to the configuration's own folder."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def fill(self, text: str) -> tuple[str, list[str]]:
        """The text with every reference filled in, and the values that were; `$${` stands for a literal `${`.

        Raises ReferenceFault at the first that has no value.
        """
        values: list[str] = []

        def value_of(match: re.Match[str]) -> str:
            if match[1]:
                return match[0][1:]
            values.append(self._look_up(match[2]))
            return values[-1]

        return _REFERENCE.sub(value_of, text), values

    def _look_up(self, name: str) -> str:
        if name.startswith("file:"):
            return self._read(name.removeprefix("file:"))
        if not _NAME.fullmatch(name):
            raise ReferenceFault(
                f"${{{name}}} names no variable; write ${{NAME}}, ${{file:PATH}}, or $${{ for a plain ${{"
            )
        if name not in self.environment:
            raise ReferenceFault(f"the environment has no {name}; set it before starting")
        return self.environment[name]

    def _read(self, name: str) -> str:
        path = self.folder / name
        try:
            with path.open("rb") as file:
                data = file.read(SECRET_BYTES_MAX + 1)
        except OSError as error:
            raise ReferenceFault(f"cannot read {path}: {error.strerror}; create it or correct the path") from error
        if len(data) > SECRET_BYTES_MAX:
            raise ReferenceFault(
                f"{path} has more than {SECRET_BYTES_MAX} bytes; a secret is shorter: correct the path"
            )
        try:
            return data.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise ReferenceFault(f"{path} is no UTF-8 text; correct the path") from error
