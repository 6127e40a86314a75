"""Turns this process into the pooler or the frontend: two programs that meet only on the wire."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from pooler.ctl import frontend
from pooler.ctl.exits import fail

POOLER_COMMAND = (sys.executable, "-P", "-m", "pooler")
"""-P: a folder called `pooler` where the command is given must not be taken for ours."""


def become_pooler(config: Path) -> NoReturn:
    """Replaces this process by the pooler."""
    command = [*POOLER_COMMAND, "--config", str(config)]
    os.execv(command[0], command)  # noqa: S606  # our own program, no shell


def become_frontend(config: Path | None, *, stdio: bool, preload: bool = False) -> NoReturn:
    """Replaces this process by a frontend, which checks its own settings before it starts."""
    options = {"--stdio": stdio, "--preload": preload}
    command = [*frontend.COMMAND, *(option for option, given in options.items() if given)]
    os.execve(command[0], command, frontend.environment(_section(config)))  # noqa: S606  # our own program, no shell


def _section(config: Path | None) -> dict[str, object]:
    if config is None:
        return {}
    from pooler.config import ConfigError, load_frontend

    try:
        return load_frontend(config)
    except ConfigError as error:
        fail(str(error))
