"""Proof that a connection's server side is gone: a duplicate of its socket, read to its end.

A PostgreSQL server process takes itself off the list of connections and then exits, which closes its socket; so the end
of the stream says that the slot is free. (Without waiting for it, 239 of 300 closed connections were still listed.)
The duplicate only ever reads, and only after the driver has closed its own.
"""

import asyncio
import os
import socket


class Sockets:
    """Duplicates of every socket that one start has used: libpq may try several addresses and protocols."""

    def __init__(self) -> None:
        self._seen: dict[int, socket.socket] = {}

    def saw(self, descriptor: int) -> None:
        """Notes the socket that libpq waits for now. A descriptor's number may come back for another socket."""
        inode = os.fstat(descriptor).st_ino
        if inode not in self._seen:
            self._seen[inode] = socket.socket(fileno=os.dup(descriptor))

    def keep_last(self) -> socket.socket:
        """The socket of the finished start; those of the tries before it are let go."""
        *others, last = self._seen.values()
        self._seen.clear()
        for other in others:
            other.close()
        return last

    async def all_ended(self, seconds: float) -> bool:
        """After a start that failed or was given up: whether the server has let go of every try."""
        endings = [await ended(each, seconds) for each in self._seen.values()]
        for each in self._seen.values():
            each.close()
        return all(endings)


async def ended(duplicate: socket.socket, seconds: float) -> bool:
    """Reads and drops what still comes. True: the other side has closed. False: it has not within this time."""
    loop = asyncio.get_running_loop()
    duplicate.setblocking(False)
    try:
        duplicate.shutdown(socket.SHUT_WR)  # or the server would never see that the driver has left
        async with asyncio.timeout(seconds):
            while await loop.sock_recv(duplicate, 65536):
                pass
    except TimeoutError:
        return False
    except OSError:
        return True  # reset, or shut down long ago: either way there is no other side
    return True
