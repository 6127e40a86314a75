"""The sockets that one start uses, so that a start which fails or is given up leaves nothing behind unseen."""

import os
import socket

from pooler.runtime.sockets import duplicate, ended


class Sockets:
    """Duplicates of every socket of a start: libpq may try several addresses and protocols."""

    def __init__(self) -> None:
        self._seen: dict[int, socket.socket] = {}

    def saw(self, descriptor: int) -> None:
        """Notes the socket that libpq waits for now. A descriptor's number may come back for another socket."""
        inode = os.fstat(descriptor).st_ino
        if inode not in self._seen:
            self._seen[inode] = duplicate(descriptor)

    def keep_last(self) -> socket.socket:
        """The socket of the finished start; those of the tries before it are let go."""
        *others, last = self._seen.values()
        self._seen.clear()
        for other in others:
            other.close()
        return last

    async def all_ended(self, seconds: float) -> bool:
        """After a start that failed or was given up: whether the server has let go of every try."""
        try:
            endings = [await ended(each, seconds) for each in self._seen.values()]
        finally:
            for each in self._seen.values():
                each.close()
        return all(endings)
