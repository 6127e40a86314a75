"""What an adapter offers besides whose connections carry several calls at once: work that nobody waits for in a task.

Such calls read, are short, and leave no trace. They stand one behind the other on a connection, so that the backend is
never idle between two of them, and what they cost us is sending and reading. Whoever is at the head is in everybody's
way; the hands watch it, and this file says what they need for that. It knows no backend and decides nothing.
"""

from abc import abstractmethod
from collections.abc import Callable

from pooler.backends import base
from pooler.backends.base import Answer, ConnectionT, PreparedT, Work


class NoPageError(Exception):
    """A call's result does not fit one page: it is to be had by `execute`, and the pages behind it with it."""


Result = Answer | BaseException
"""What `execute` would have returned or raised."""
Done = Callable[[Result], None]


class Adapter(base.Adapter[ConnectionT, PreparedT]):
    """One whose operations may `share`. Those that do not have a connection for themselves."""

    @abstractmethod
    def submit(self, connection: ConnectionT, work: Work, done: Done) -> None:
        """Has an operation that shares run on a connection, behind those submitted before it, and waits for none.

        `done` is called once, on the loop and never before this has returned; with NoPageError where the result is
        more than a page. Raises what `execute` raises when nothing can be sent. A connection that dies tells each of
        its calls. What is submitted is never stopped one by one: `cancel`, `reset` and `close` end all of it, and
        nobody is told of anything afterwards; `execute` and the rest come when all of it has ended.
        """

    @abstractmethod
    def at_work(self, connection: ConnectionT) -> Done | None:
        """Whose work the backend is doing, of those submitted, and all others wait for. None: nobody's."""

    @abstractmethod
    def leave_behind(self, connection: ConnectionT) -> None:
        """Nobody waits any more for what stands behind the work that is `at_work`: it may still be done, untold.

        Where that work is known by now to have no page, this is told soon instead of at its end.
        """
