"""A run's place in a conversation: its short name there, and that it ends when the conversation does."""

from collections.abc import Awaitable, Callable
from typing import Protocol


class Name(Protocol):
    """What a run in a conversation is called: `name` there, `id` among all runs."""

    @property
    def name(self) -> str: ...
    @property
    def id(self) -> str: ...


class Home(Protocol):
    """What a run needs of the conversations. `key` is a conversation's."""

    def begin_run(self, key: str, request_key: str = "") -> Name:
        """Names a run; the conversation is in use until `end_run`. Raises Fault when it has ended."""

    def end_run(self, key: str, run: Name, request_key: str = "") -> None:
        """It is under way no more."""

    def attach(self, key: str, belonging: "Lodging") -> None:
        """It ends with the conversation. Raises Fault when that has ended already."""

    def detach(self, key: str, belonging: "Lodging") -> None:
        """It has ended by itself."""


class Lodging:
    """One run's. Made before the run is, `over` when that has ended, `gone` when it is forgotten."""

    def __init__(self, home: Home, key: str, request_key: str, end: Callable[[str], Awaitable[None]]) -> None:
        """`end` cancels and forgets the run of an id. Raises Fault when the conversation has ended."""
        self._home = home
        self._key = key
        self._request_key = request_key
        self._end = end
        self._under_way = True
        self.name = home.begin_run(key, request_key)

    async def end(self) -> None:
        """The conversation has ended."""
        await self._end(self.name.id)

    def stay(self) -> None:
        """From now on it ends with the conversation. Raises Fault when that has ended meanwhile."""
        self._home.attach(self._key, self)

    def over(self) -> None:
        """The run is under way no more. Harmless when repeated."""
        if self._under_way:
            self._under_way = False
            self._home.end_run(self._key, self.name, self._request_key)

    def gone(self) -> None:
        """The run is not kept any more."""
        self.over()
        self._home.detach(self._key, self)
