"""Whether an address is taken, and by which one to replace it. Opens nothing for longer than a question."""

import asyncio
import socket
from contextlib import closing

ANSWER_SECONDS = 1.0


def split(address: str) -> tuple[str, int]:
    """HOST:PORT as what a socket takes."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def is_taken(address: str) -> bool:
    """Whether something listens there already; port 0 and unix sockets never are."""
    if address.startswith("unix:"):
        return False
    host, port = split(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is not "in use"
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def free_address(preferred: str) -> str:
    """The preferred address, or the same host with a port that is free now."""
    if not is_taken(preferred):
        return preferred
    host, _ = split(preferred)
    with closing(socket.socket()) as probe:
        probe.bind((host, 0))
        return f"{host}:{probe.getsockname()[1]}"


async def connects(address: str) -> str | None:
    """The address when something answers there, else None."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            if address.startswith("unix:"):
                _, writer = await asyncio.open_unix_connection(address.removeprefix("unix:"))
            else:
                _, writer = await asyncio.open_connection(*split(address))
    except (OSError, TimeoutError):
        return None
    writer.close()
    return address
