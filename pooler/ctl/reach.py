"""Where a DBA's commands go, and as whom: the pooler's address, and the administrator's token.

A token never stands among the arguments, which everybody on the machine can read in a list of processes.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pooler.ctl.exits import Exit, fail

if TYPE_CHECKING:
    from pooler.service.admin_client import AdminClient

USUAL_ADDRESS = "127.0.0.1:7433"
TOKEN_VARIABLE = "PENSTOCK_ADMIN_TOKEN"  # noqa: S105 - the name of it
TOKEN_BYTES_MAX = 4096


@dataclass(frozen=True, slots=True)
class Reach:
    """A pooler, and who comes to it."""

    address: str
    token: str = field(repr=False)
    timeout_seconds: float

    def client(self) -> "AdminClient":
        """A client of it, to be closed."""
        from pooler.service.admin_client import AdminClient

        return AdminClient(self.address, self.token)


def reach(address: str | None, config: Path | None, token_file: Path | None, timeout_seconds: float) -> Reach:
    """By what the command line and the environment say; ends the command where they say nothing that can be used."""
    where = address or (USUAL_ADDRESS if config is None else address_in(config))
    return Reach(where, _token(token_file), timeout_seconds)


def address_in(config: Path) -> str:
    """Where a configuration has its DBA's plane. Nothing else of it is looked at, and none of its secrets needed."""
    from pooler.config import ConfigError
    from pooler.config.document import Document

    try:
        document = Document(config, frozenset({"pooler"}))
    except ConfigError as error:
        fail(str(error))
    pooler = document.data.get("pooler")
    admin = pooler.get("admin") if isinstance(pooler, dict) else None
    for section, path in ((admin, ("pooler", "admin", "listen")), (pooler, ("pooler", "listen"))):
        found = section.get("listen") if isinstance(section, dict) else None
        if found is None:
            continue
        faults = [fault for fault in document.faults if fault.path == path]
        if faults or not isinstance(found, str):
            fail("\n".join(map(str, faults)) or f"{config}: {'.'.join(path)} is no address")
        return found
    return USUAL_ADDRESS


def _token(file: Path | None) -> str:
    if file is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip()
    try:
        with file.open("rb") as opened:
            text = opened.read(TOKEN_BYTES_MAX + 1).decode("ascii").strip()
    except OSError as error:
        fail(f"cannot read the token in {file}: {error.strerror}", Exit.USAGE)
    except UnicodeDecodeError:
        fail(f"{file} holds no token: it has bytes that are no ASCII", Exit.USAGE)
    if not text or len(text) > TOKEN_BYTES_MAX or len(text.split()) != 1:
        fail(f"{file} holds no token: it must have one word, and nothing else", Exit.USAGE)
    return text
