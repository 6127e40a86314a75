"""Proof that the other side of a socket is gone: a duplicate of it, read to its end.

A database server takes a connection off its list and then closes its end; so the end of the stream says that the slot
is free. (Without waiting for it, 239 of 300 closed PostgreSQL connections were still listed.) A duplicate shares the
driver's socket, so it must not be touched before the driver has closed its own, or has been given up.
"""

import asyncio
import os
import socket


def duplicate(descriptor: int) -> socket.socket:
    """A second hold on the same socket. Does not change how the first one blocks."""
    return socket.socket(fileno=os.dup(descriptor))


def has_news(duplicate: socket.socket) -> bool:
    """Whether there is something to read now: data that came unasked, or the end. Reads nothing."""
    try:
        duplicate.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


async def ended(duplicate: socket.socket, seconds: float) -> bool:
    """Says goodbye, then reads and drops what still comes. True: the other side has closed. False: not in this time."""
    loop = asyncio.get_running_loop()
    duplicate.setblocking(False)
    try:
        duplicate.shutdown(socket.SHUT_WR)  # the driver's own close sent nothing: ours is still open
        async with asyncio.timeout(seconds):
            while await loop.sock_recv(duplicate, 65536):
                pass
    except TimeoutError:
        return False
    except OSError:
        return True  # reset, or shut down long ago: either way there is no other side
    return True
